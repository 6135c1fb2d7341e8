// As much of a document as the pages' modules ask for when they draw: elements with attributes, children and text.

class Node {
  parent = null;

  get parentElement() { return this.parent; }

  remove() {
    if (this.parent) this.parent.childNodes = this.parent.childNodes.filter((node) => node !== this);
    this.parent = null;
  }
}

class Text extends Node {
  constructor(text) {
    super();
    this.textContent = text;
  }
}

class Element extends Node {
  constructor(name) {
    super();
    Object.assign(this, { name, childNodes: [], attributes: new Map(), dataset: {}, style: {}, hidden: false, listeners: {} });
    const kinds = new Set();
    this.classList = {
      add: (...names) => names.forEach((one) => kinds.add(one)),
      remove: (...names) => names.forEach((one) => kinds.delete(one)),
      toggle: (one, on) => (on ? kinds.add(one) : kinds.delete(one)),
    };
  }

  setAttribute(name, value) {
    this.attributes.set(name, String(value));
    if (name.startsWith("data-")) this.dataset[name.slice(5)] = String(value);
    if (name === "hidden") this.hidden = true;
  }

  getAttribute(name) { return this.attributes.get(name) ?? null; }

  hasAttribute(name) { return this.attributes.has(name); }

  removeAttribute(name) { this.attributes.delete(name); }

  addEventListener(kind, listener) { this.listeners[kind] = listener; }

  append(...nodes) { for (const node of nodes) this.insertBefore(node, null); }

  insertBefore(given, next) {
    const node = given instanceof Node ? given : new Text(given);
    node.remove();
    node.parent = this;
    this.childNodes.splice(next === null ? this.childNodes.length : this.childNodes.indexOf(next), 0, node);
  }

  replaceChildren(...nodes) {
    for (const node of this.childNodes) node.remove();
    this.append(...nodes);
  }

  get children() { return this.childNodes.filter((node) => node instanceof Element); }

  get firstChild() { return this.childNodes[0] ?? null; }

  get lastChild() { return this.childNodes.at(-1) ?? null; }

  get firstElementChild() { return this.children[0] ?? null; }

  get lastElementChild() { return this.children.at(-1) ?? null; }

  get nextElementSibling() { return this.parent?.children[this.parent.children.indexOf(this) + 1] ?? null; }

  get textContent() { return this.childNodes.map((node) => node.textContent).join(""); }

  set textContent(text) { this.replaceChildren(...(text === "" ? [] : [text])); }

  // A table's own names for its children.
  get tHead() { return this.children.find((child) => child.name === "thead") ?? null; }

  get tBodies() { return this.children.filter((child) => child.name === "tbody"); }

  // All elements of this name inside, in their order.
  all(name) { return this.children.flatMap((child) => [...(child.name === name ? [child] : []), ...child.all(name)]); }
}

// Puts a new document in place, whose elements are made when they are first looked up by their id.
export function install() {
  const known = new Map();
  globalThis.document = {
    createElement: (name) => new Element(name),
    createElementNS: (_, name) => new Element(name),
    getElementById(id) {
      if (!known.has(id)) {
        known.set(id, new Element("div"));
        new Element("div").append(known.get(id));
      }
      return known.get(id);
    },
  };
}
