import { HISTORY_PLUGIN } from "@graphiql/plugin-history";
import { GraphiQL } from "graphiql";
import { examples } from "./examples";
import { EXAMPLES_PLUGIN } from "./examples-plugin";
import { createFetcher } from "./fetcher";
import { showUsefulPane, usefulPane } from "./panes";
import { readTabs, storage } from "./storage";

const PLUGINS = [EXAMPLES_PLUGIN, HISTORY_PLUGIN];
const fetcher = createFetcher();

/** What the active tab holds; GraphiQL fills its editors from props and not from the tab. */
function startingTab() {
  const stored = readTabs();
  const tab = stored?.tabs[stored.activeTabIndex] ?? examples[0];
  return {
    index: stored?.activeTabIndex ?? 0,
    query: tab?.query ?? "",
    variables: tab?.variables ?? "",
    headers: tab?.headers ?? "",
  };
}

export function Page() {
  const start = startingTab();
  let activeTab = start.index;
  return (
    <GraphiQL
      initialQuery={start.query}
      initialVariables={start.variables}
      initialHeaders={start.headers}
      fetcher={fetcher}
      storage={storage}
      // True because `storage` keeps headers in the browser tab's session; see there.
      shouldPersistHeaders
      showPersistHeadersSettings={false}
      defaultTabs={examples}
      defaultEditorToolsVisibility={usefulPane(start)}
      plugins={PLUGINS}
      inputValueDeprecation
      schemaDescription
      onTabChange={({ tabs, activeTabIndex }) => {
        // Every edit ends here; only a change of tab may change the pane under somebody's hands.
        if (activeTabIndex === activeTab) return;
        activeTab = activeTabIndex;
        const tab = tabs[activeTabIndex];
        if (tab) showUsefulPane(tab);
      }}
    >
      <GraphiQL.Logo>{null}</GraphiQL.Logo>
    </GraphiQL>
  );
}
