// Light or dark: as the system has it, until it is chosen. Runs before anything is shown.

(() => {
  const STORED = "parvis.theme";
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const chosen = () => {
    try {
      return localStorage.getItem(STORED);
    } catch {
      return null;
    }
  };
  const show = () => (root.dataset.theme = chosen() ?? (system.matches ? "dark" : "light"));
  show();
  system.addEventListener("change", show);
  document.addEventListener("theme", () => {
    try {
      localStorage.setItem(STORED, root.dataset.theme === "dark" ? "light" : "dark");
    } catch {
      // then it lasts as long as the page
    }
    root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
  });
})();
