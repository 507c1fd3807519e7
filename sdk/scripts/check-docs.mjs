/**
 * Checks what the API reference would say, without writing it: every export has a comment, every link leads somewhere,
 * and every type that an export names is exported too. Part of `npm run typecheck`, and what `npm run docs` begins with.
 *
 * typedoc asks the last of these for the types of one package alone, the one in whose folder it runs, which is this
 * workspace; so it is asked once for each package.
 */
import { Application, TSConfigReader, TypeDocReader } from "typedoc";

const app = await Application.bootstrapWithPlugins({}, [new TypeDocReader(), new TSConfigReader()]);
const project = await app.convert();
const workspace = project?.packageName;
for (const name of app.options.getValue("packagesRequiringDocumentation")) {
  if (project === undefined) break;
  project.packageName = name;
  app.validate(project);
}
const { errorCount, warningCount } = app.logger;
const faults = errorCount + warningCount;
if (project === undefined || faults > 0) {
  console.error(`The documentation of ${workspace ?? "the workspace"} has ${faults} faults.`);
  process.exit(1);
}
