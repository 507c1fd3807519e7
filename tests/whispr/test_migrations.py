"""Migrations must be safe while the release before still serves (docs/operations.md "Upgrades")."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation

# Nothing was released before these: a deployment begins with them.
BEFORE = {"messaging": 8, "delivery": 3}
OURS = {"messaging", "delivery", "trust", "integrations"}
# Tables with a row a message, a recipient or a member, or that every request reads: an index that is not built
# concurrently, or a constraint that is validated at once, keeps every write waiting while they are read through.
LARGE = {
    "conversation",
    "member",
    "message",
    "sendkey",
    "deliverystatus",
    "devicecursor",
    "device",
    "medialink",
    "reaction",
    "traceevent",
}


def unsafe(operation: Operation, app: str, made: set[tuple[str, str]]) -> str | None:
    """Why an operation breaks the release before; None where it does not. `made` are models of the same migration."""

    def fresh(name: str) -> bool:
        return (app, name.lower()) in made

    if isinstance(operation, migrations.CreateModel):
        made.add((app, operation.name.lower()))
        return None
    if isinstance(operation, migrations.RenameModel | migrations.RenameField | migrations.AlterModelTable):
        return "renames what the old code asks for by its name"
    if isinstance(operation, migrations.DeleteModel | migrations.RemoveField):
        return "takes away what the old code still reads; leave it for the release after the one that stops using it"
    if isinstance(operation, migrations.AddField) and not fresh(operation.model_name):
        field: Any = operation.field
        if not field.null and not field.has_db_default() and not field.many_to_many:
            return "the old code's INSERT gives this column no value: make it null, or give it a db_default"
    if isinstance(operation, migrations.AlterField) and not fresh(operation.model_name):
        return "may rewrite the table or refuse what the old code writes: add another column instead"
    if isinstance(operation, migrations.AddIndex) and _is_large(operation) and not fresh(operation.model_name):
        return "keeps writes waiting while a large table is read through: AddIndexConcurrently, with atomic = False"
    if isinstance(operation, migrations.AddConstraint) and not fresh(operation.model_name):
        return "may refuse what the old code writes; add it as NOT VALID in one release, and validate it in the next"
    if isinstance(operation, migrations.RunSQL):
        return "is not understood here"
    if isinstance(operation, migrations.SeparateDatabaseAndState):
        found = [unsafe(one, app, made) for one in operation.database_operations]
        return next((one for one in found if one), None)
    return None


def _is_large(operation: migrations.AddIndex) -> bool:
    concurrently = isinstance(operation, AddIndexConcurrently)  # which PostgreSQL refuses in a transaction
    return operation.model_name.lower() in LARGE and not concurrently


def problems(name: tuple[str, str], migration: migrations.Migration) -> Iterator[str]:
    """What a migration may not do. What its author answers for is in `safe_because`: {position: reason}."""
    answered: dict[int, str] = getattr(migration, "safe_because", {})
    made: set[tuple[str, str]] = set()
    for number, operation in enumerate(migration.operations):
        why = unsafe(operation, name[0], made)
        if why is not None and not answered.get(number):
            yield f"{name[0]}.{name[1]}, operation {number} ({operation.describe()}): {why}"


def test_no_migration_breaks_the_release_before() -> None:
    found = []
    for name, migration in MigrationLoader(None, ignore_no_migrations=True).disk_migrations.items():
        app, label = name
        if app in OURS and int(label.split("_")[0]) > BEFORE.get(app, 0):
            found += problems(name, migration)
    assert not found, "\n".join(found)


def migration_of(*operations: Operation, **attributes: Any) -> migrations.Migration:
    kind = type("Migration", (migrations.Migration,), {"operations": list(operations), **attributes})
    return kind("0099_test", "messaging")


TEXT = models.CharField(max_length=8)
CREATED = migrations.CreateModel("New", [("id", models.BigAutoField(primary_key=True))])


@pytest.mark.parametrize(
    ("operations", "is_safe"),
    [
        ([migrations.AddField("message", "more", models.IntegerField(null=True))], True),
        ([migrations.AddField("message", "more", models.IntegerField(db_default=0))], True),
        ([migrations.AddField("message", "more", models.IntegerField(default=0))], False),
        ([migrations.AddField("message", "more", TEXT)], False),
        ([CREATED, migrations.AddField("new", "more", TEXT)], True),
        ([migrations.RemoveField("message", "signature")], False),
        ([migrations.RenameField("message", "seq", "number")], False),
        ([migrations.DeleteModel("Reaction")], False),
        ([migrations.RenameModel("Reaction", "Smile")], False),
        ([migrations.AlterField("message", "seq", models.IntegerField())], False),
        ([migrations.AddIndex("message", models.Index(fields=["seq"], name="x"))], False),
        ([AddIndexConcurrently("message", models.Index(fields=["seq"], name="x"))], True),
        ([migrations.AddIndex("draft", models.Index(fields=["user_id"], name="x"))], True),
        ([CREATED, migrations.AddIndex("new", models.Index(fields=["id"], name="x"))], True),
        ([migrations.RemoveIndex("message", "x")], True),
        ([migrations.AddConstraint("draft", models.UniqueConstraint(fields=["user_id"], name="x"))], False),
        ([migrations.RunSQL("DROP TABLE messages")], False),
        ([migrations.SeparateDatabaseAndState([migrations.RemoveField("message", "signature")])], False),
        ([migrations.SeparateDatabaseAndState([], [migrations.RemoveField("message", "signature")])], True),
        ([migrations.RunPython(migrations.RunPython.noop)], True),
    ],
)
def test_what_counts_as_safe(operations: list[Operation], is_safe: bool) -> None:
    assert (not list(problems(("messaging", "0099_test"), migration_of(*operations)))) is is_safe


def test_an_author_answers_for_one_operation() -> None:
    drop = migrations.RemoveField("message", "signature")
    answered = migration_of(drop, drop, safe_because={0: "unused since 0.2"})
    assert len(list(problems(("messaging", "0099_test"), answered))) == 1
