/** Elements without templates: texts become text nodes, so nothing that a person wrote is ever read as HTML. */

type Child = Node | string | null | undefined | false;
type Attributes = Record<string, string | boolean | null | undefined | ((event: Event) => void)>;

/** An element. Functions become listeners (`onclick`), `true` an empty attribute, null and false none. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child): child is Node | string => child !== null && child !== undefined && child !== false));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

/** The drawings, on a 16 × 16 grid. */
const ICONS = {
  sending: "M8 2.5a5.5 5.5 0 1 0 0 11a5.5 5.5 0 0 0 0-11M8 5v3l2 1.5",
  queued: "M4 2.5h8M4 13.5h8M5 2.5c0 3 6 5 6 11M11 2.5c0 3-6 5-6 11",
  sent: "M3 8.5l3.2 3.2L13 4.8",
  delivered: "M1.5 8.7l3 3L11 5.2M7.5 11.2l.6.5L14.6 5.2",
  read: "M1.5 8.7l3 3L11 5.2M7.5 11.2l.6.5L14.6 5.2",
  failed: "M8 2.5a5.5 5.5 0 1 0 0 11a5.5 5.5 0 0 0 0-11M8 5v3.5M8 10.8v.2",
  back: "M10 3L5 8l5 5",
  send: "M2.5 8h10M8.5 3.8L12.8 8l-4.3 4.2",
  external: "M9 3h4v4M13 3L7.5 8.5M11 9.5V13H3V5h3.5",
  lock: "M4.5 7.5h7v5.5h-7zM6 7.5V5a2 2 0 0 1 4 0v2.5",
  down: "M8 3v9M4 8.5L8 12.5l4-4",
} as const;

export type IconName = keyof typeof ICONS;

/** A drawing beside its words; screen readers get the words. */
export function icon(name: IconName): SVGSVGElement {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("class", `icon icon-${name}`);
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/** A round mark with a person's first letter, in a colour of their own. */
export function avatar(name: string): HTMLElement {
  let sum = 0;
  for (const character of name) sum = (sum * 31 + (character.codePointAt(0) ?? 0)) >>> 0;
  const first = [...name.trim()][0] ?? "?";
  return h("span", { class: `avatar hue-${sum % 6}`, "aria-hidden": "true" }, first.toLocaleUpperCase());
}

export interface Keyed {
  key: string;
  /** Two items with the same key and the same content need no new element. */
  content: string;
  draw(): HTMLElement;
}

/** Make `parent` show `items`, keeping the elements whose content did not change. */
export function reconcile(parent: HTMLElement, items: readonly Keyed[]): void {
  const there = new Map<string, HTMLElement>();
  for (const child of parent.children) {
    if (child instanceof HTMLElement && child.dataset["key"] !== undefined) there.set(child.dataset["key"], child);
  }
  let place: Element | null = parent.firstElementChild;
  for (const item of items) {
    let element = there.get(item.key);
    there.delete(item.key);
    if (element === undefined || element.dataset["content"] !== item.content) {
      const drawn = item.draw();
      drawn.dataset["key"] = item.key;
      drawn.dataset["content"] = item.content;
      if (element !== undefined) {
        if (place === element) place = element.nextElementSibling;
        element.remove();
      }
      element = drawn;
    }
    if (place === element) place = element.nextElementSibling;
    else parent.insertBefore(element, place);
  }
  for (const element of there.values()) element.remove();
}
