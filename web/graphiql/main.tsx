import "./workers";
// One style sheet per package; `graphiql/style.css` would add 0.6 MB of fonts and a second Monaco.
import "@graphiql/react/style.css";
import "@graphiql/plugin-doc-explorer/style.css";
import "@graphiql/plugin-history/style.css";
import "graphiql/graphiql.css";
import "./page.css";

import { createRoot } from "react-dom/client";
import { Page } from "./page";

const root = document.getElementById("graphiql");
if (!root) throw new Error("graphiql.html has no #graphiql");
createRoot(root).render(<Page />);
