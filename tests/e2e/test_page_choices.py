"""The web client: what a person decides, and where it shows: blocks and mutes on all devices, groups, times, emoji."""

import re
from typing import Any

import pytest

from tests.e2e.browser import (
    Devices,
    act,
    composer,
    expect,
    expect_message,
    expect_state,
    log,
    make_group,
    message,
    open_chat,
    settings,
    write,
)

pytestmark = [pytest.mark.browser]

# Who comes back to a page asks anew what another device may have changed, at most every three seconds.
LOOK_MS = 3_100


def row(page: Any, name: str) -> Any:
    """A conversation in the list."""
    return page.get_by_role("navigation").get_by_role("button", name=re.compile(rf"^{re.escape(name)}\b")).last


def about(page: Any) -> Any:
    """The dialog about the open conversation."""
    page.get_by_role("button", name="About this conversation").last.click()
    return page.get_by_role("dialog", name="About this conversation")


def close(page: Any) -> None:
    """Close the dialog."""
    page.get_by_role("button", name="Close").click()
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_a_block_hides_everything_of_a_person_on_every_device(devices: Devices) -> None:
    device = devices.new()
    alma = device.sign_in("Alma")
    bert, carl, laptop = (devices.sign_in(name) for name in ("Bert", "Carl", "Alma"))
    make_group(alma, "Choir", "Bert", "Carl")
    open_chat(carl, "Choir")
    write(carl, "Carl is here")
    open_chat(bert, "Choir")
    write(bert, "Bert is here")
    expect_message(alma, "Bert is here")
    # A second tab of the same device, and another device; neither is told by the server.
    tab = device.context.new_page()
    device.page = tab
    tab.goto("/")
    tab.get_by_role("button", name="Continue as Alma").click()
    expect(row(tab, "Choir")).to_contain_text("Bert is here")
    expect(row(laptop, "Choir")).to_contain_text("Bert is here")
    open_chat(laptop, "Choir")
    expect_message(laptop, "Bert is here")

    dialog = about(alma)
    dialog.get_by_role("button", name="Menu: Bert").click()
    alma.get_by_role("menuitem", name="Block", exact=True).click()
    expect(dialog.get_by_role("listitem").filter(has_text="Bert")).to_contain_text("Blocked")
    close(alma)
    expect(message(alma, "Bert is here")).to_have_count(0)
    expect(row(alma, "Choir")).to_contain_text("Carl is here")
    expect(row(tab, "Choir")).to_contain_text("Carl is here")
    laptop.wait_for_timeout(LOOK_MS)
    laptop.evaluate("window.dispatchEvent(new Event('focus'))")
    expect(message(laptop, "Bert is here")).to_have_count(0)
    expect(row(laptop, "Choir")).to_contain_text("Carl is here")

    # What he writes now is neither previewed, nor unread, nor quoted.
    open_chat(alma, "Carl")
    write(bert, "Bert again")
    open_chat(carl, "Choir")
    act(carl, "Bert again", "Reply")
    write(carl, "I agree with Bert")
    expect(row(alma, "Choir")).to_contain_text("I agree with Bert")
    expect(row(alma, "Choir")).to_contain_text("1 unread message")
    open_chat(alma, "Choir")
    expect(message(alma, "I agree with Bert").get_by_text("A message that is no longer here")).to_be_visible()
    write(bert, "Bert to nobody")
    expect_state(bert, "Bert to nobody", "delivered")
    open_chat(alma, "Carl")
    expect(row(alma, "Choir")).not_to_contain_text("unread")
    assert "Bert to nobody" not in alma.locator("body").inner_text()
    assert devices.faults == []


def test_a_muted_conversation_is_muted_on_every_device(devices: Devices) -> None:
    dora, emil, laptop = (devices.sign_in(name) for name in ("Dora", "Emil", "Dora"))
    open_chat(dora, "Emil")
    write(dora, "hello")
    dialog = about(dora)
    dialog.get_by_label("Notifications", exact=True).last.select_option("Off for an hour")
    expect(dialog.get_by_label("Notifications", exact=True).last).to_contain_text("Off until")
    close(dora)
    for page in (dora, laptop):
        expect(row(page, "Emil")).to_contain_text("Notifications are off")
    dora.reload()
    expect(row(dora, "Emil")).to_contain_text("Notifications are off")
    open_chat(laptop, "Emil")
    dialog = about(laptop)
    dialog.get_by_label("Notifications", exact=True).last.select_option("On")
    close(laptop)
    for page in (dora, laptop):
        expect(row(page, "Emil")).not_to_contain_text("Notifications are off")

    with settings(dora) as dialog:
        dialog.get_by_label("Notifications of all conversations").select_option("Off")
    with settings(laptop) as dialog:
        everything = dialog.get_by_label("Notifications of all conversations")
        expect(everything).to_have_value("off")
        everything.select_option("On")
        expect(everything).to_have_value("on")
    open_chat(emil, "Dora")
    expect_message(emil, "hello")
    assert devices.faults == []


def test_a_group_is_renamed_and_deleted_for_everybody(devices: Devices) -> None:
    fred, gina, hugo = (devices.sign_in(name) for name in ("Fred", "Gina", "Hugo"))
    make_group(fred, "Chess", "Gina", "Hugo")
    write(fred, "Tuesday?")
    open_chat(gina, "Chess")
    dialog = about(fred)
    dialog.get_by_label("Name of the group").fill("Checkers")
    dialog.get_by_role("button", name="Save", exact=True).click()
    # Everybody sees the name at once, in the list and above the messages.
    expect(gina.get_by_role("heading", level=1, name="Checkers")).to_be_visible()
    expect(row(hugo, "Checkers")).to_be_visible()

    # A member is written to from there.
    dialog = about(gina)
    expect(dialog.get_by_role("button", name="Delete the group")).to_have_count(0)
    dialog.get_by_role("button", name="Menu: Hugo").click()
    gina.get_by_role("menuitem", name="Write to them alone").click()
    gina.get_by_role("heading", level=1, name="Hugo").wait_for()
    write(gina, "between us")
    open_chat(hugo, "Gina")
    expect_message(hugo, "between us")

    fred.once("dialog", lambda question: question.accept())
    fred.get_by_role("dialog").get_by_role("button", name="Delete the group").click()
    expect(composer(fred)).to_be_disabled()
    open_chat_closed(gina, "Checkers")
    expect(composer(gina)).to_be_disabled()
    expect(gina.get_by_text("You are no longer a member of this conversation.")).to_be_visible()
    expect_message(gina, "Tuesday?")
    assert devices.faults == []


def open_chat_closed(page: Any, name: str) -> None:
    """Open a conversation in which nobody can write."""
    row(page, name).click()
    page.get_by_role("heading", level=1, name=name).wait_for()


def test_a_scheduled_message_is_changed_and_called_off(devices: Devices) -> None:
    ilse, jack = devices.sign_in("Ilse"), devices.sign_in("Jack")
    open_chat(ilse, "Jack")
    for text in ("a first thought", "never mind"):
        composer(ilse).fill(text)
        ilse.get_by_role("button", name="Send later").click()
        ilse.get_by_role("dialog", name="Send later").get_by_role("button", name="Send later").click()
        expect(composer(ilse)).to_have_value("")
    ilse.get_by_role("button", name="2 messages are sent later").click()
    dialog = ilse.get_by_role("dialog", name="About this conversation")
    dialog.get_by_role("listitem").filter(has_text="never mind").get_by_role("button", name="Do not send").click()
    expect(dialog.get_by_text("never mind")).to_have_count(0)
    dialog.get_by_role("button", name="Change", exact=True).click()
    dialog.get_by_label("Message", exact=True).fill("a second thought")
    soon = ilse.evaluate(
        "() => { const at = new Date(Date.now() + 90_000);"
        " return new Date(at - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 16); }"
    )
    dialog.get_by_label("To be sent").fill(soon)
    dialog.get_by_role("button", name="Save", exact=True).click()
    expect(dialog.get_by_role("listitem").filter(has_text="a second thought")).to_be_visible()
    close(ilse)
    expect(ilse.get_by_role("button", name="1 message is sent later")).to_be_visible()
    open_chat(jack, "Ilse")
    expect(log(jack).get_by_role("article")).to_have_count(0)
    assert devices.faults == []


def test_any_emoji_and_who_chose_it(devices: Devices) -> None:
    kurt, lisa = devices.sign_in("Kurt"), devices.sign_in("Lisa")
    open_chat(kurt, "Lisa")
    write(kurt, "It is done")
    open_chat(lisa, "Kurt")
    one = message(lisa, "It is done")
    one.hover()
    one.get_by_role("button", name="Message actions").click()
    lisa.get_by_role("menuitem", name="More reactions").click()
    lisa.get_by_role("menuitemcheckbox", name="React 🎉").click()
    expect(message(kurt, "It is done").get_by_role("button", name=re.compile("🎉 1 reaction$"))).to_be_visible()
    act(kurt, "It is done", "Details")
    dialog = kurt.get_by_role("dialog", name="Message details")
    expect(dialog.get_by_role("listitem").filter(has_text="🎉")).to_contain_text("Lisa")
    # The same again takes it back, while somebody looks at the details.
    message(lisa, "It is done").get_by_role("button", name=re.compile("🎉")).click()
    expect(dialog.get_by_role("listitem").filter(has_text="🎉")).to_have_count(0)
    assert devices.faults == []


def test_two_devices_that_write_at_once_keep_one_of_both(devices: Devices) -> None:
    devices.sign_in("Nora")
    phone, laptop = devices.sign_in("Mark"), devices.sign_in("Mark")
    for page in (phone, laptop):
        open_chat(page, "Nora")
    laptop.context.set_offline(True)
    composer(laptop).fill("from the laptop")
    composer(phone).fill("from the phone")
    phone.wait_for_timeout(1_500)  # saved a second after the last key
    laptop.context.set_offline(False)
    other = laptop.get_by_role("status").filter(has_text="Written on another device")
    expect(other).to_contain_text("from the phone")
    other.get_by_role("button", name="Use it").click()
    expect(composer(laptop)).to_have_value("from the phone")
    expect(other).to_have_count(0)
    assert devices.faults == []


def test_the_arrow_leads_to_the_first_new_message(devices: Devices) -> None:
    olaf, pia = devices.sign_in("Olaf"), devices.sign_in("Pia")
    open_chat(olaf, "Pia")
    open_chat(pia, "Olaf")
    for number in range(30):
        write(olaf, f"long ago {number}")
    expect_message(pia, "long ago 29")
    log(pia).press("Home")
    expect_message(pia, "long ago 0")
    for number in range(30):
        write(olaf, f"just now {number}")
    arrow = pia.get_by_role("button", name="30 new messages")
    arrow.click()
    expect(message(pia, "just now 0")).to_be_in_viewport()
    expect(message(pia, "just now 29")).not_to_be_in_viewport()
    pia.locator(".wh-to-end").click()
    expect(message(pia, "just now 29")).to_be_in_viewport()
    assert devices.faults == []
