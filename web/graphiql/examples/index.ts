// An example is up to three files of one name: `1-score.graphql`, `.variables.json` and
// `.headers.json`. Its title is the document's first comment line, its description the rest of that
// comment, and the number is its place. tests/web checks every document against the schema.
const files = import.meta.glob<string>("./*.{graphql,json}", {
  eager: true,
  query: "?raw",
  import: "default",
});

export interface Example {
  title: string;
  description: string;
  query: string;
  variables: string;
  headers: string;
}

function load(path: string): Example {
  const query = files[path] ?? "";
  const stem = path.slice(0, -".graphql".length);
  const [title = stem, ...description] = query
    .slice(0, query.indexOf("\n\n"))
    .split("\n")
    .map((line) => line.replace(/^#\s*/, ""));
  return {
    title,
    description: description.join(" "),
    query: query.trimEnd(),
    variables: files[`${stem}.variables.json`]?.trimEnd() ?? "",
    headers: files[`${stem}.headers.json`]?.trimEnd() ?? "",
  };
}

export const examples: Example[] = Object.keys(files)
  .filter((path) => path.endsWith(".graphql"))
  .sort()
  .map(load);
