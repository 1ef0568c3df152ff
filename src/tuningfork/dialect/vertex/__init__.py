"""The methods of Vertex AI's API for tuning jobs, tuned models, their endpoints, and text."""
