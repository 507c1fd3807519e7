import { describe, expect, it } from "vitest";
import { Observable, Value } from "./observable";

const turn = (ms = 0): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

describe("an observable", () => {
  it("makes a snapshot once a change, and only when it is asked for", () => {
    let made = 0;
    const store = new Observable(() => ({ made: (made += 1) }));
    store.changed();
    store.changed();
    expect(made).toBe(0);
    expect(store.getSnapshot()).toBe(store.getSnapshot());
    store.changed();
    expect(store.getSnapshot()).toEqual({ made: 2 });
  });

  it("tells of many changes of a turn once", async () => {
    const store = new Observable(() => ({}));
    let told = 0;
    const end = store.subscribe(() => (told += 1));
    store.getSnapshot();
    for (let count = 0; count < 1_000; count += 1) store.changed();
    await turn();
    expect(told).toBe(1);
    store.changed();
    await turn(40);
    expect(told).toBe(2);
    end();
    store.changed();
    await turn(40);
    expect(told).toBe(2);
  });

  it("tells of nothing where the snapshot is the same", async () => {
    const same = {};
    const store = new Observable(() => same);
    let told = 0;
    store.getSnapshot();
    store.subscribe(() => (told += 1));
    store.changed();
    await turn(40);
    expect(told).toBe(0);
  });

  it("tells of a change also where somebody asked before it was told", async () => {
    const store = new Observable(() => ({}));
    let told = 0;
    store.getSnapshot();
    store.subscribe(() => (told += 1));
    store.changed();
    store.getSnapshot();
    await turn(40);
    expect(told).toBe(1);
  });

  it("may be subscribed twice by the same function, and a listener may end itself", async () => {
    const value = new Value(1);
    let told = 0;
    const listener = (): void => void (told += 1);
    const [one, two] = [value.subscribe(listener), value.subscribe(listener)];
    one();
    value.set(2);
    value.set(2);
    await turn();
    expect([told, value.getSnapshot()]).toEqual([1, 2]);
    two();
  });
});
