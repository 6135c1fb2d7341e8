// The page's words. English stands where it is used, and is the key of every translation: `de.js` has the German ones.
// Elements of the pages that are to be translated have `data-t`; its value names attributes, beside the text itself.

const KEY = "aragora.language";
const LANGUAGES = { en: "English", de: "Deutsch" };

function preferred() {
  const wanted = [globalThis.localStorage?.getItem(KEY), ...(globalThis.navigator?.languages || [])];
  return wanted.map((one) => String(one || "").slice(0, 2)).find((one) => Object.hasOwn(LANGUAGES, one)) || "en";
}

export const language = preferred();
const table = language === "en" ? {} : (await import(`./${language}.js`)).words;

// A name that is read from right to left, isolated (UAX 9): else the numbers around it would change places with it.
export function isolated(value) {
  return /[\p{Script=Arabic}\p{Script=Hebrew}\p{Script=Syriac}\p{Script=Thaana}\p{Script=Nko}]/u.test(value) ? `\u2068${value}\u2069` : String(value);
}

// `words` in the page's language, with {name} replaced by `values.name`.
export function t(words, values = {}) {
  return (table[words] ?? words).replace(/\{(\w+)\}/g, (whole, name) => (Object.hasOwn(values, name) ? isolated(values[name]) : whole));
}

// One form for a single thing, the other for any other number of them.
export function n(count, one, many, values = {}) {
  return t(count === 1 ? one : many, { count, ...values });
}

export const percent = (share) => new Intl.NumberFormat(language, { style: "percent" }).format(Math.min(1, Math.max(0, Number.isFinite(share) ? share : 0)));

// Translates what the page says before any script has run.
export function translate(root) {
  root.documentElement.lang = language;
  for (const element of root.querySelectorAll("[data-t]")) {
    for (const name of element.dataset.t.split(" ").filter(Boolean)) element.setAttribute(name, t(element.getAttribute(name)));
    for (const child of element.childNodes) {
      if (child.nodeType !== 3 || !child.data.trim()) continue;
      child.data = child.data.replace(/\S(?:.*\S)?/s, (words) => t(words.replace(/\s+/g, " ")));
    }
  }
}

// The languages that there are besides this one, by code.
export const others = Object.entries(LANGUAGES).filter(([code]) => code !== language);

export function speak(code) {
  localStorage.setItem(KEY, code);
  location.reload();
}
