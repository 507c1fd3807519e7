import { screen } from "@testing-library/react";
import type { MessageStatus as Status } from "@whispr/client";
import { describe, expect, it } from "vitest";
import { en, fr } from "../i18n/index";
import { show } from "../test/render";
import { MessageStatus } from "./MessageStatus";

const STATES = Object.keys(en.states) as Status[];

describe("the state of a message", () => {
  it.each(STATES)("%s is a word and a picture of its own", (status) => {
    const { container } = show(<MessageStatus status={status} />);
    expect(container.textContent).toBe(en.states[status]);
    expect(container.querySelector("svg")?.getAttribute("aria-hidden")).toBe("true");
  });

  it("has no two words alike, in any language", () => {
    for (const { states } of [en, fr]) expect(new Set(Object.values(states)).size).toBe(STATES.length);
  });

  it("can show its word to everybody", () => {
    show(<MessageStatus status="delivered" showWord />, { catalog: fr });
    expect(screen.getByText("Distribué").className).not.toContain("wh-sr");
  });
});
