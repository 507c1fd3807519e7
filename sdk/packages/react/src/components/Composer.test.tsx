import { fireEvent, screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { describe, expect, it, vi } from "vitest";
import { ME, message } from "../../gallery/fixtures";
import { show } from "../test/render";
import { Composer } from "./Composer";

const field = (): HTMLTextAreaElement => screen.getByRole("textbox", { name: "Message" });

describe("the composer", () => {
  it("sends with Enter, begins a line with Shift and Enter, and is empty again", async () => {
    const user = userEvent.setup();
    const onSend = vi.fn(() => true);
    show(<Composer to="Bob" onSend={onSend} />);
    await user.type(field(), "one{Shift>}{Enter}{/Shift}two{Enter}");
    expect(onSend).toHaveBeenCalledExactlyOnceWith({ text: "one\ntwo", file: null, ttl: null, ttlStart: "send", scheduledFor: null });
    expect(field().value).toBe("");
    expect(document.activeElement).toBe(field());
  });

  it("sends nothing that is empty, and leaves Enter to an input method", async () => {
    const user = userEvent.setup();
    const onSend = vi.fn(() => true);
    show(<Composer to="Bob" onSend={onSend} />);
    await user.type(field(), "   {Enter}");
    fireEvent.change(field(), { target: { value: "にほん" } });
    fireEvent.keyDown(field(), { key: "Enter", isComposing: true });
    expect(onSend).not.toHaveBeenCalled();
  });

  it("keeps what was written where it was not taken", async () => {
    const user = userEvent.setup();
    show(<Composer to="Bob" onSend={() => Promise.resolve(false)} />);
    await user.type(field(), "precious{Enter}");
    expect(field().value).toBe("precious");
  });

  it("refuses what is too long, and says by how much", async () => {
    const user = userEvent.setup();
    const onSend = vi.fn(() => true);
    show(<Composer to="Bob" onSend={onSend} maxBytes={4} />);
    await user.type(field(), "ééé{Enter}");
    expect(screen.getByRole("alert").textContent).toBe("2 characters too long");
    expect(onSend).not.toHaveBeenCalled();
  });

  it("edits: takes the text over, Escape gives it back", async () => {
    const user = userEvent.setup();
    const onCancelMode = vi.fn();
    const own = message(1, { mine: true, text: "first words" });
    const { rerender } = show(<Composer to="Bob" me={ME} onSend={() => true} onCancelMode={onCancelMode} mode={{ kind: "edit", message: own }} />);
    expect(field().value).toBe("first words");
    await user.type(field(), "{Escape}");
    expect(onCancelMode).toHaveBeenCalledOnce();
    rerender(<Composer to="Bob" me={ME} onSend={() => true} mode={null} />);
    expect(screen.queryByText("Editing your message")).toBeNull();
  });

  it("edits the last message with arrow up in an empty field alone", async () => {
    const user = userEvent.setup();
    const onEditLast = vi.fn();
    show(<Composer to="Bob" onSend={() => true} onEditLast={onEditLast} />);
    await user.type(field(), "a{ArrowUp}");
    expect(onEditLast).not.toHaveBeenCalled();
    await user.type(field(), "{Backspace}{ArrowUp}");
    expect(onEditLast).toHaveBeenCalledOnce();
  });

  it("tells of typing and of the draft", async () => {
    const user = userEvent.setup();
    const onTyping = vi.fn();
    const onDraft = vi.fn();
    show(<Composer to="Bob" onSend={() => true} onTyping={onTyping} onDraft={onDraft} />);
    await user.type(field(), "hi");
    expect(onDraft).toHaveBeenLastCalledWith("hi");
    expect(onTyping).toHaveBeenLastCalledWith(true);
    await user.clear(field());
    expect(onTyping).toHaveBeenLastCalledWith(false);
  });

  it("takes over another device's draft while nothing was typed here", async () => {
    const user = userEvent.setup();
    const { rerender } = show(<Composer to="Bob" onSend={() => true} draft="" />);
    rerender(<Composer to="Bob" onSend={() => true} draft="from the phone" />);
    expect(field().value).toBe("from the phone");
    await user.type(field(), "!");
    rerender(<Composer to="Bob" onSend={() => true} draft="something else" />);
    expect(field().value).toBe("from the phone!");
  });

  it("hands over a file, and how long the message stays", async () => {
    const user = userEvent.setup();
    const onSend = vi.fn(() => true);
    const { container } = show(<Composer to="Bob" onSend={onSend} canAttach />);
    const file = new File(["bytes"], "note.txt", { type: "text/plain" });
    fireEvent.change(container.querySelector("input[type=file]") as HTMLInputElement, { target: { files: [file] } });
    expect(screen.getByText("note.txt")).toBeTruthy();
    await user.click(screen.getByRole("button", { name: "Vanishing messages" }));
    await user.click(screen.getByRole("radio", { name: "1 minute" }));
    await user.click(screen.getByRole("checkbox", { name: "Counted from the reading" }));
    await user.type(field(), "look{Enter}");
    expect(onSend).toHaveBeenCalledWith({ text: "look", file, ttl: 60, ttlStart: "read", scheduledFor: null });
  });
});

describe("sending later", () => {
  it("hands over the time, once, and sends nothing before", async () => {
    const user = userEvent.setup();
    const onSend = vi.fn(() => true);
    const { container } = show(<Composer to="Bob" onSend={onSend} canSchedule />);
    expect(screen.getByRole<HTMLButtonElement>("button", { name: "Send later" }).disabled).toBe(true);
    await user.type(field(), "tomorrow");
    await user.click(screen.getByRole("button", { name: "Send later" }));
    // A form within the composer's own would load the page anew.
    expect(container.querySelectorAll("form form").length).toBe(0);
    const time = screen.getByLabelText("Send at");
    fireEvent.change(time, { target: { value: "2099-01-02T03:04" } });
    fireEvent.keyDown(time, { key: "Enter" });
    expect(onSend).toHaveBeenCalledExactlyOnceWith({ text: "tomorrow", file: null, ttl: null, ttlStart: "send", scheduledFor: new Date("2099-01-02T03:04").getTime() });
  });
});
