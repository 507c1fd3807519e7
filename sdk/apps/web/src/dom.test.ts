// @vitest-environment happy-dom
import { describe, expect, it, vi } from "vitest";
import { avatar, h, reconcile, type Keyed } from "./dom";

const HOSTILE = ['<script>alert(1)</script>', '<img src=x onerror="alert(1)">', "&lt;b&gt;", '"><svg onload=alert(1)>', "'`${x}"];

describe("what people wrote", () => {
  it.each(HOSTILE)("%s stays text", (text) => {
    const element = h("p", { title: text }, text);
    expect(element.children.length).toBe(0);
    expect(element.textContent).toBe(text);
    expect(element.getAttribute("title")).toBe(text);
    // Read back as HTML, it is still the same single paragraph.
    const copy = document.createElement("div");
    copy.innerHTML = element.outerHTML;
    expect(copy.querySelectorAll("*").length).toBe(1);
    expect(copy.textContent).toBe(text);
  });

  it("is only a letter in an avatar, whatever it begins with", () => {
    expect(avatar("<script>").textContent).toBe("<");
    expect(avatar("👩🏽 Ada").textContent).toBe("👩");
    expect(avatar(" ada").textContent).toBe("A");
    expect(avatar("").textContent).toBe("?");
  });
});

it("h takes listeners, flags and absent things", () => {
  const clicked = vi.fn();
  const element = h("button", { hidden: true, title: null, "aria-current": false, onclick: clicked }, null, false, "a", h("b", {}, "c"));
  element.click();
  expect(clicked).toHaveBeenCalledTimes(1);
  expect(element.outerHTML).toBe('<button hidden="">a<b>c</b></button>');
});

describe("reconcile", () => {
  function items(...pairs: [string, string][]): Keyed[] {
    return pairs.map(([key, content]) => ({ key, content, draw: () => h("li", {}, content) }));
  }

  function texts(list: HTMLElement): (string | null)[] {
    return [...list.children].map((child) => child.textContent);
  }

  it("shows what it is given, in that order", () => {
    const list = h("ul");
    reconcile(list, items(["a", "1"], ["b", "2"], ["c", "3"]));
    expect(texts(list)).toEqual(["1", "2", "3"]);
    reconcile(list, items(["c", "3"], ["x", "9"], ["a", "1"]));
    expect(texts(list)).toEqual(["3", "9", "1"]);
    reconcile(list, []);
    expect(texts(list)).toEqual([]);
  });

  it("draws again only what changed", () => {
    const list = h("ul");
    reconcile(list, items(["a", "1"], ["b", "2"], ["c", "3"]));
    const [a, b, c] = [...list.children];
    reconcile(list, items(["a", "1"], ["b", "changed"], ["c", "3"]));
    expect(texts(list)).toEqual(["1", "changed", "3"]);
    expect(list.children[0]).toBe(a);
    expect(list.children[1]).not.toBe(b);
    expect(list.children[2]).toBe(c);
  });
});
