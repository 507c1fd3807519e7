"""The manual switches of the circuit breakers."""

from django.db import models
from django.db.models.functions import Now


class CircuitSwitch(models.Model):
    """How staff hold the circuit to an external thing, in every process. A circuit without a row decides for itself."""

    class Mode(models.TextChoices):
        AUTO = "auto", "by itself"
        OPEN = "open", "held open: nobody calls it"
        CLOSED = "closed", "held closed: everybody calls it, whatever happens"

    name = models.CharField(max_length=32, primary_key=True)
    mode = models.CharField(max_length=6, choices=Mode.choices, default=Mode.AUTO, db_default=Mode.AUTO)
    by = models.CharField(max_length=150, blank=True, default="", db_default="")
    at = models.DateTimeField(db_default=Now())
    reason = models.CharField(max_length=200, blank=True, default="", db_default="")

    class Meta:
        db_table = "circuit_switches"
        verbose_name = "circuit"
        constraints = [
            models.CheckConstraint(
                name="circuit_switches_mode", condition=models.Q(mode__in=["auto", "open", "closed"])
            )
        ]

    def __str__(self) -> str:
        return self.name
