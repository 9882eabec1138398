import EditorWorker from "monaco-editor/esm/vs/editor/editor.worker.js?worker";
import JsonWorker from "monaco-editor/esm/vs/language/json/json.worker.js?worker";
import GraphQLWorker from "monaco-graphql/esm/graphql.worker.js?worker";
import type {} from "monaco-editor"; // declares MonacoEnvironment

// The workers are named here, in our own source, because Vite only bundles a `?worker` import that
// it transforms itself: `graphiql/setup-workers/vite` fails in the development server (its file is
// pre-bundled) and writes to the console on every start.
window.MonacoEnvironment = {
  getWorker(_id: string, label: string): Worker {
    if (label === "graphql") return new GraphQLWorker();
    if (label === "json") return new JsonWorker();
    return new EditorWorker();
  },
};
