/** Listeners by name. One that throws keeps no other from being told. */

type Listener = (...values: never[]) => void;

export class Emitter<Events extends { [Name in keyof Events]: Listener }> {
  private readonly listeners = new Map<keyof Events, Set<Listener>>();

  on<Name extends keyof Events>(name: Name, listener: Events[Name]): () => void {
    const found = this.listeners.get(name) ?? new Set<Listener>();
    this.listeners.set(name, found);
    found.add(listener);
    return () => void found.delete(listener);
  }

  emit<Name extends keyof Events>(name: Name, ...values: Parameters<Events[Name]>): void {
    for (const listener of [...(this.listeners.get(name) ?? [])]) {
      try {
        (listener as (...all: unknown[]) => void)(...values);
      } catch (error) {
        // As an uncaught error, where people look for it, and not in our own flow.
        setTimeout(() => {
          throw error;
        });
      }
    }
  }
}
