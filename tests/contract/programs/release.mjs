// Say which release of a package is here.
import { readFileSync } from "node:fs";

const manifest = JSON.parse(readFileSync(`node_modules/${process.env.PACKAGE}/package.json`, "utf-8"));
console.log(JSON.stringify({ release: manifest.version }));
