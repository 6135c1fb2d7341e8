// Elements from data. Text only ever becomes text: nothing here reads markup.

import { language, t } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";

export const $ = (id) => document.getElementById(id);

export function el(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

export function svg(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "onclick") element.addEventListener("click", value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

export const text = (value) => (typeof value === "string" ? value : value === undefined || value === null ? "" : String(value));
export const list = (value) => (Array.isArray(value) ? value : []);
export const number = (value, otherwise = 0) => (Number.isFinite(value) ? value : otherwise);

export function ago(moment) {
  const seconds = Math.max(0, (Date.now() - new Date(moment).getTime()) / 1000);
  if (seconds < 60) return t("just now");
  if (seconds < 3600) return t("{count} min ago", { count: Math.floor(seconds / 60) });
  if (seconds < 86400) return t("{count} h ago", { count: Math.floor(seconds / 3600) });
  return new Date(moment).toLocaleDateString(language);
}

export function span(seconds) {
  const whole = Math.max(0, Math.round(number(seconds)));
  return whole < 60 ? t("{count} s", { count: whole }) : t("{minutes} min {seconds} s", { minutes: Math.floor(whole / 60), seconds: whole % 60 });
}
