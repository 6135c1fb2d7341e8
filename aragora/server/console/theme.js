// The colours: the system's, unless the page was told otherwise.

const KEY = "aragora.theme";

export function theme() {
  const wanted = localStorage.getItem(KEY);
  if (wanted) document.documentElement.dataset.theme = wanted;
}

export function switchTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = document.documentElement.dataset.theme || (dark ? "dark" : "light");
  localStorage.setItem(KEY, now === "dark" ? "light" : "dark");
  theme();
}
