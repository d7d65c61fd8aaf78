import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";

const { document, diagnostics } = await new Parser().parse(readFileSync(process.argv[2], "utf8"));
const wrong = diagnostics.filter((one) => one.severity === 0);
for (const one of diagnostics) console.error(one.severity, one.path.join("."), one.message);
process.exit(document === undefined || wrong.length > 0 ? 1 : 0);
