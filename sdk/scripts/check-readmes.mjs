// Type-checks the examples in the READMEs of the packages: each block of ts or tsx is a module of its own.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";

const packages = fileURLToPath(new URL("../packages", import.meta.url));
/** What the examples leave to the application that they are put into. */
const AROUND = `
import type * as whispr from "@whispr/client";
import type { NameOf } from "@whispr/react";
declare global {
  const client: whispr.WhisprClient;
  const conversation: whispr.ConversationStore;
  const item: whispr.MessageItem & { readonly messageId: string; readonly media: whispr.MediaReference };
  const url: string;
  const id: string;
  const key: CryptoKey;
  const file: File;
  const input: HTMLInputElement;
  const names: ReadonlyMap<string, string>;
  const nameOf: NameOf;
  function getToken(reason: whispr.TokenReason): Promise<string | null>;
  function notify(item: whispr.MessageItem): void;
  function report(error: Error): void;
}
`;

// Beside the examples that they name.
const files = new Map([[join(packages, "client", "examples", "readme-around.d.ts"), AROUND]]);
for (const name of ["client", "react", "testing"]) {
  const lines = readFileSync(join(packages, name, "README.md"), "utf8").split("\n");
  const directory = join(packages, name, name === "testing" ? "src" : "examples");
  for (let at = 0; at < lines.length; at += 1) {
    const language = /^```(tsx?)$/.exec(lines[at])?.[1];
    if (language === undefined) continue;
    const end = lines.indexOf("```", at);
    // As many empty lines before it as in the README, so that a complaint names its line there.
    files.set(join(directory, `readme-${at + 1}.${language}`), `${"\n".repeat(at + 1)}${lines.slice(at + 1, end).join("\n")}\nexport {};\n`);
    at = end;
  }
}

const config = ts.getParsedCommandLineOfConfigFile(join(packages, "react", "tsconfig.json"), {}, { ...ts.sys, onUnRecoverableConfigFileDiagnostic: (one) => { throw new Error(String(one.messageText)); } });
const options = { ...config.options, noUnusedLocals: false, noEmit: true };
const host = ts.createCompilerHost(options);
const { fileExists, readFile, getSourceFile } = host;
host.fileExists = (path) => files.has(path) || fileExists(path);
host.readFile = (path) => files.get(path) ?? readFile(path);
host.getSourceFile = (path, ...rest) => (files.has(path) ? ts.createSourceFile(path, files.get(path), ...rest) : getSourceFile(path, ...rest));
const program = ts.createProgram({ rootNames: [...files.keys()], options, host });
const found = [...files.keys()].flatMap((path) => ts.getPreEmitDiagnostics(program, program.getSourceFile(path)).filter((one) => one.file !== undefined && files.has(one.file.fileName)));
if (found.length > 0) {
  console.error(ts.formatDiagnostics(found, { getCanonicalFileName: (path) => path, getCurrentDirectory: () => packages, getNewLine: () => "\n" }));
  process.exit(1);
}
console.log(`${files.size - 1} examples of the READMEs are of the types that they use.`);
