import { describe, expect, it, vi } from "vitest";
import { People, type Person } from "./people";

const ME = { userId: "me", name: "Ann" };

describe("the people", () => {
  it("are told of when somebody came, and only then", async () => {
    let answer: readonly Person[] = [ME];
    const people = new People(() => Promise.resolve({ people: answer }), ME);
    const told = vi.fn();
    people.subscribe(told);
    expect(people.getSnapshot()).toMatchObject({ all: [], loaded: false });
    await people.refresh();
    const before = people.getSnapshot();
    await people.refresh();
    expect(people.getSnapshot()).toBe(before);
    expect(told).toHaveBeenCalledTimes(1);
    answer = [ME, { userId: "b", name: "Bob" }];
    await people.refresh();
    expect(told).toHaveBeenCalledTimes(2);
    expect(people.getSnapshot().nameOf("b")).toBe("Bob");
  });

  it("have a name in any case, one's own without asking", () => {
    const people = new People(() => Promise.reject(new Error("away")), ME);
    expect(people.getSnapshot().nameOf("me")).toBe("Ann");
    expect(people.getSnapshot().nameOf("0123456789ab")).toBe("01234567 …");
  });

  it("are asked for at once where a name is missing, and once", async () => {
    vi.useFakeTimers();
    const ask = vi.fn(() => Promise.resolve({ people: [ME] }));
    const people = new People(ask, ME);
    const stop = people.start();
    await vi.advanceTimersByTimeAsync(1);
    expect(ask).toHaveBeenCalledTimes(1);
    for (let drawn = 0; drawn < 3; drawn += 1) expect(people.getSnapshot().nameOf("0123456789ab")).toBe("01234567 …");
    await vi.advanceTimersByTimeAsync(1);
    expect(ask).toHaveBeenCalledTimes(2);
    stop();
    vi.useRealTimers();
  });

  it("stay as they were while the server is away", async () => {
    const people = new People(() => Promise.reject(new Error("away")), ME);
    await people.refresh();
    expect(people.getSnapshot().loaded).toBe(false);
  });
});
