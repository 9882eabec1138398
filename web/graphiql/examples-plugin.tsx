import { useGraphiQL, useGraphiQLActions, type GraphiQLPlugin } from "@graphiql/react";
import { examples, type Example } from "./examples";
import { showUsefulPane } from "./panes";

function Icon() {
  return (
    <svg viewBox="0 0 24 24" fill="none" stroke="currentColor" strokeWidth="1.5" aria-hidden="true">
      <path d="M9 3h6M10 3v6L4.6 18.4A1.7 1.7 0 0 0 6.1 21h11.8a1.7 1.7 0 0 0 1.5-2.6L14 9V3" />
      <path d="M7.5 15h9" />
    </svg>
  );
}

function Examples() {
  const { addTab, changeTab, setVisiblePlugin } = useGraphiQLActions();
  const tabs = useGraphiQL((state) => state.tabs);
  const editors = useGraphiQL((state) => ({
    query: state.queryEditor,
    variables: state.variableEditor,
    headers: state.headerEditor,
  }));

  function open(example: Example) {
    // On a phone this pane covers the editors (page.css).
    if (matchMedia("(max-width: 640px)").matches) setVisiblePlugin(null);
    const present = tabs.findIndex((tab) => tab.query?.trimEnd() === example.query);
    if (present >= 0) return changeTab(present);
    addTab();
    // The editors report the change themselves, and the new, now active tab takes it from them.
    editors.query?.setValue(example.query);
    editors.variables?.setValue(example.variables);
    editors.headers?.setValue(example.headers);
    showUsefulPane(example);
  }

  return (
    <section className="examples" aria-label="Examples">
      <h2>Examples</h2>
      <ul>
        {examples.map((example) => (
          <li key={example.title}>
            <button type="button" onClick={() => open(example)}>
              <strong>{example.title}</strong>
              {example.description}
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}

export const EXAMPLES_PLUGIN: GraphiQLPlugin = {
  title: "Examples",
  icon: Icon,
  content: Examples,
};
