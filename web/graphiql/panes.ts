interface Tab {
  variables?: string | null | undefined;
  headers?: string | null | undefined;
}

/** The pane under the query worth seeing: headers for a tab that has those and no variables. */
export function usefulPane(tab: Tab) {
  return !tab.variables && tab.headers ? "headers" : "variables";
}

/** GraphiQL keeps the pane across tabs and has no action for it, so its own button is pressed. */
export function showUsefulPane(tab: Tab): void {
  const name = usefulPane(tab);
  // After the frame in which React has drawn the tab.
  requestAnimationFrame(() => {
    document
      .querySelector<HTMLButtonElement>(`.graphiql-editor-tools [data-name="${name}"]:not(.active)`)
      ?.click();
  });
}
