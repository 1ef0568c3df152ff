// Call a server with the credentials that Google's libraries find by themselves.
import { GoogleAuth } from "google-auth-library";

const auth = new GoogleAuth({ scopes: "https://www.googleapis.com/auth/cloud-platform" });
const told = {};
try {
  const client = await auth.getClient();
  told.quota_project = client.quotaProjectId;
  const answer = await client.request({ url: process.env.URL + "/v1beta/tunedModels" });
  told.status = answer.status;
} catch (error) {
  told.refused = String(error.message ?? error);
}
console.log(JSON.stringify(told));
