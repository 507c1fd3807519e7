"""The web client between people: notifications, blocking, keys that change, an upload that breaks off, and French."""

import re
from typing import Any

import pytest

from tests.e2e.browser import (
    Devices,
    composer,
    expect,
    expect_message,
    expect_state,
    forget_keys,
    log,
    make_group,
    message,
    open_chat,
    remove_other_device,
    settings,
    write,
)

pytestmark = [pytest.mark.browser]

# What the page asks of a browser, noted: the permission is the browser's own. A page is hidden when the test says so,
# for a headless browser shows every page.
NOTED = """
  const real = window.Notification;
  window.shown = [];
  window.Notification = class {
    static get permission() { return real.permission; }
    static requestPermission() { return real.requestPermission(); }
    constructor(title, options) {
      document.documentElement.dataset.shown = window.shown.push({ title, ...options });
    }
    close() {}
  };
  window.isHidden = false;
  Object.defineProperty(Document.prototype, "visibilityState", { get: () => (window.isHidden ? "hidden" : "visible") });
"""


def hide(page: Any, hidden: bool) -> None:
    """Put the page behind another one, or in front."""
    page.evaluate(
        "hidden => { window.isHidden = hidden; document.dispatchEvent(new Event('visibilitychange')); }", hidden
    )


def test_a_hidden_page_notifies_and_an_open_one_does_not(devices: Devices) -> None:
    mia = devices.sign_in("Mia")
    device = devices.new(permissions=["notifications"])
    device.context.add_init_script(NOTED)
    nils = device.sign_in("Nils")
    with settings(nils) as dialog:
        switch = dialog.get_by_role("switch", name="Notifications")
        switch.click()  # it is on once the browser has allowed it
        expect(switch).to_be_checked()
    open_chat(mia, "Nils")
    open_chat(nils, "Mia")
    write(mia, "seen at once")
    expect_state(mia, "seen at once", "read")
    assert nils.evaluate("window.shown") == []

    hide(nils, True)
    write(mia, "while he is away")
    expect(nils.locator("html")).to_have_attribute("data-shown", "1")
    assert [(one["title"], one.get("body")) for one in nils.evaluate("window.shown")] == [
        ("New message from Mia", None)
    ]
    # What nobody looked at was not read.
    expect_state(mia, "while he is away", "delivered")
    hide(nils, False)
    expect_state(mia, "while he is away", "read")

    with settings(nils) as dialog:
        dialog.get_by_role("switch", name="Notifications").uncheck()
    hide(nils, True)
    write(mia, "without a sign")
    expect_message(nils, "without a sign")
    assert len(nils.evaluate("window.shown")) == 1
    assert devices.faults == []


def test_who_is_blocked_is_not_heard_and_does_not_learn_of_it(devices: Devices) -> None:
    olga, paul = devices.sign_in("Olga"), devices.sign_in("Paul")
    open_chat(olga, "Paul")
    write(olga, "before")
    open_chat(paul, "Olga")
    expect_message(paul, "before")

    paul.get_by_role("button", name="About this conversation").last.click()
    paul.get_by_role("button", name="Block", exact=True).click()
    expect(paul.get_by_role("dialog").get_by_text("You blocked this person.")).to_be_visible()
    paul.get_by_role("button", name="Close").click()
    write(olga, "withheld")
    expect_state(olga, "withheld", "sent")

    # In a group it arrives, and is not shown as long as she is blocked.
    make_group(paul, "Evening run", "Olga")
    write(paul, "hello all")
    open_chat(olga, "Evening run")
    expect_message(olga, "hello all")
    write(olga, "said to the group")
    expect_state(olga, "said to the group", "delivered")
    expect(message(paul, "said to the group")).to_have_count(0)

    with settings(paul) as dialog:
        dialog.get_by_role("button", name="Unblock").click()
        expect(dialog.get_by_role("button", name="Unblock")).to_have_count(0)
    expect_message(paul, "said to the group")
    open_chat(olga, "Paul")
    write(olga, "after")
    open_chat(paul, "Olga")
    expect_message(paul, "after")
    expect_state(olga, "after", "read")
    expect(message(paul, "withheld")).to_have_count(0)
    assert devices.faults == []


def test_an_upload_that_breaks_off_is_sent_again_once(devices: Devices) -> None:
    quinn, rosa = devices.sign_in("Quinn"), devices.sign_in("Rosa")
    open_chat(quinn, "Rosa")
    tries: list[str] = []

    def break_off(route: Any) -> None:
        tries.append(route.request.url)
        if len(tries) == 1:
            route.abort("connectionreset")
        else:
            route.continue_()

    quinn.route("**/api/v1/media", break_off)
    quinn.locator("input[type=file]").set_input_files(
        {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"the same bytes" * 500}
    )
    write(quinn, "with notes")
    expect(quinn.get_by_role("status").filter(has_text="safe")).to_be_visible()
    # Nothing was sent, and nothing is lost: the file and the words are still there.
    expect(log(quinn).get_by_role("article")).to_have_count(0)
    expect(composer(quinn)).to_have_value("with notes")
    expect(quinn.get_by_role("button", name="Remove the attachment")).to_be_visible()
    composer(quinn).press("Enter")
    expect_state(quinn, "with notes", "delivered")
    open_chat(rosa, "Quinn")
    expect(log(rosa).get_by_role("article")).to_have_count(1)
    with rosa.expect_download() as download:
        message(rosa, "with notes").get_by_role("button", name="Download notes.txt").click()
    assert download.value.path().read_bytes() == b"the same bytes" * 500
    assert len(tries) == 2
    assert devices.faults == []


def test_new_changed_and_removed_keys_are_told(devices: Devices) -> None:
    sara = devices.sign_in("Sara")
    device = devices.new()
    theo = device.sign_in("Theo")
    open_chat(sara, "Theo")
    write(sara, "one")
    expect_state(sara, "one", "delivered")

    # Compared once, with the number that both see.
    sara.get_by_role("button", name="About this conversation").last.click()
    sara.get_by_role("dialog").get_by_role("button", name="They are the same").click()
    expect(sara.get_by_role("dialog").get_by_text("Verified", exact=True)).to_be_visible()
    sara.get_by_role("button", name="Close").click()

    phone = devices.sign_in("Theo")
    open_chat(phone, "Sara")
    write(phone, "from the phone")
    expect_message(sara, "from the phone")
    notice = sara.get_by_role("status").filter(has_text="Theo uses a new device.")
    expect(notice).to_be_visible()
    notice.get_by_role("button", name="OK").click()
    expect(notice).to_have_count(0)

    # The same device with other keys: its browser lost what it had.
    forget_keys(theo, "Theo")
    open_chat(theo, "Sara")
    write(theo, "with new keys")
    expect_message(sara, "with new keys")
    changed = sara.get_by_role("status").filter(has_text="The keys of Theo changed.")
    expect(changed).to_be_visible()
    changed.get_by_role("button", name="OK").click()
    expect(changed).to_have_count(0)

    # A device that is removed reads nothing more, and is out.
    expect_message(phone, "with new keys")
    remove_other_device(theo, phone)
    write(sara, "to the one that is left")
    expect_message(theo, "to the one that is left")
    expect(message(phone, "to the one that is left")).to_have_count(0)
    assert devices.faults == []


def test_every_dialog_in_french(devices: Devices) -> None:
    devices.sign_in("Ugo")
    vera = devices.new(locale="fr-FR").sign_in("Véra", label="Votre nom")
    vera.get_by_role("navigation").get_by_role("button", name="Ugo").click()
    field = vera.get_by_role("textbox", name="Message", exact=True)
    field.fill("bonjour")
    field.press("Enter")
    expect(message(vera, "bonjour")).to_contain_text("Distribué")

    def opened(name: str, words: list[str]) -> None:
        dialog = vera.get_by_role("dialog", name=name)
        for word in words:
            expect(dialog.get_by_text(word).first).to_be_visible()
        # Nothing was left in English.
        said = dialog.inner_text()
        assert re.search(r"\b(the|you|and|this|device|message was|settings)\b", said, re.IGNORECASE) is None, said
        dialog.get_by_role("button", name="Fermer").click()
        expect(dialog).to_have_count(0)

    vera.get_by_role("button", name="Réglages").click()
    opened("Réglages", ["Apparence", "Vie privée", "Chiffrement", "Appareils", "Compte", "Sortir"])
    vera.get_by_role("button", name="À propos de cette conversation").last.click()
    opened(
        "À propos de cette conversation", ["Numéro de sécurité", "Historique vérifié", "Messages programmés", "Bloquer"]
    )
    vera.get_by_role("button", name="Nouveau groupe").click()
    opened("Nouveau groupe", ["Nom du groupe", "Qui participe ?", "Créer"])
    message(vera, "bonjour").hover()
    message(vera, "bonjour").get_by_role("button", name="Actions du message").click()
    vera.get_by_role("menuitem", name="Détails").click()
    opened("Détails du message", ["Distribution", "Le chemin de ce message", "Enregistré dans la base de données"])
    assert devices.faults == []
