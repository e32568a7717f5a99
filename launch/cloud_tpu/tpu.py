"""A TPU of one name: created or queued for, waited for, deleted."""

import dataclasses
import json
import time
from typing import Any

from launch.cloud_tpu import gcloud
from launch.cloud_tpu.gcloud import HOUR, MINUTE, Gcloud, GcloudError
from mlp_core.errors import UserError

LABEL, LABELLED = "made-with", "all-mlp"  # What this project has made.

# States that the Cloud TPU API tells of nodes and of queued resources, and one of ours.
READY, MISSING = "READY", "MISSING"
TAKEN_AWAY = ("PREEMPTED", "TERMINATED", "SUSPENDED")
STOPPED = ("STOPPED", "STOPPING", "HIDDEN", "HIDING")


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What TPU is to be there, in gcloud's terms."""

    name: str
    zone: str
    project: str | None = None
    accelerator_type: str | None = None
    version: str | None = None
    spot: bool = False
    queued: bool = False
    create_flags: tuple[str, ...] = ()

    @property
    def place(self) -> tuple[str, ...]:
        """The flags that every command about this TPU takes."""
        return (f"--zone={self.zone}", *([f"--project={self.project}"] if self.project else []))


class Tpu:
    """The TPU of a job; it costs from the moment it is there until it is deleted."""

    def __init__(self, gcloud: Gcloud, wanted: Wanted, poll: float, patience: float) -> None:
        """`poll`: seconds between two looks at it; `patience`: seconds to wait for one."""
        self.gcloud = gcloud
        self.wanted = wanted
        self.poll = poll
        self.patience = patience
        self.may_be_there = False

    def state(self) -> str:
        """READY, MISSING or what the API says of the TPU or its place in the queue.

        Raises:
            UserError: a TPU of this name is not this project's, or is of another type.
        """
        if node := self._described("tpu-vm"):
            self._check_ours(node)
            self.may_be_there = True
            return node["state"]
        # An earlier command, with --queued, may have asked for it.
        if queued := self._described("queued-resources"):
            self._check_ours(_node_of(queued))
            self.may_be_there = True
            state = queued["state"]["state"]
            if state == "FAILED":
                raise UserError(
                    f"the queued resource {self.wanted.name} has failed{_reason(queued)}; delete "
                    "it with the action delete, then try again."
                )
            return "PROVISIONING" if state == "ACTIVE" else state  # Its node is not to be seen yet.
        return MISSING

    def obtain(self) -> None:
        """Creates the TPU unless it is there, and waits until it is READY.

        One that was preempted is deleted first. No capacity, or a queue, is waited for.

        Raises:
            UserError: there is none to be had, in time or at all.
        """
        say = self.gcloud.say
        deadline = time.monotonic() + self.patience
        told = None
        while True:
            state = self.state()
            if state == READY:
                say(f"TPU {self.wanted.name}: READY")
                return
            if state in STOPPED:
                raise UserError(
                    f"TPU {self.wanted.name} is {state}, by someone's hand; delete it with the "
                    "action delete, or name another with --name."
                )
            if state in TAKEN_AWAY:
                say(f"TPU {self.wanted.name}: {state}; deleted, to be created anew")
                self.delete()
                continue
            if state == MISSING:
                state = self._requested(deadline)
                if self.gcloud.dry_run:
                    return
            left = deadline - time.monotonic()
            if left < 0:
                raise UserError(
                    f"TPU {self.wanted.name} is still {state} after "
                    f"{self.patience / MINUTE:.0f} minutes; wait longer with --wait_hours, or "
                    "delete it with the action delete."
                )
            if told is None or state != told[0] or told[1] - left > 10 * MINUTE:
                say(f"TPU {self.wanted.name}: {state}; waits {left / MINUTE:.0f} minutes at most")
                told = state, left
            time.sleep(self.poll)

    def delete(self) -> None:
        """Deletes the TPU and its place in the queue; tells where there is neither.

        Raises:
            UserError: it is not this project's, or cannot be deleted.
        """
        is_there = False
        for group, flags in (("queued-resources", ("--force",)), ("tpu-vm", ())):
            if found := self._described(group):
                self._check_label(found if group == "tpu-vm" else _node_of(found))
            elif not self.gcloud.dry_run:
                continue
            self.may_be_there = is_there = True
            try:
                self._call(group, "delete", *flags, "--quiet", limit=30 * MINUTE)
            except GcloudError as error:
                if error.kind is not gcloud.MISSING:
                    raise
        self.may_be_there = False
        where = " ".join(self.wanted.place)
        done = "deleted" if is_there else f"there is none to be deleted, with {where}"
        self.gcloud.say(f"TPU {self.wanted.name}: {done}")

    def _requested(self, deadline: float) -> str:
        """Asks for the TPU; returns what it is waiting for."""
        try:
            self._create()
        except GcloudError as error:
            if error.kind is gcloud.EXISTS:  # An earlier try got through after all.
                return "CREATING"
            self.may_be_there = error.kind in (gcloud.SLOW, gcloud.PASSING, gcloud.OTHER)
            if error.kind is gcloud.NO_CAPACITY and time.monotonic() < deadline:
                return f"none to be had ({error})"
            raise
        return "requested"

    def _create(self) -> None:
        wanted = self.wanted
        self.may_be_there = True
        self.gcloud.say(f"TPU {wanted.name}: requests {wanted.accelerator_type} in {wanted.zone}")
        flags = [
            f"--accelerator-type={wanted.accelerator_type}",
            f"--labels={LABEL}={LABELLED}",
            *(["--spot"] if wanted.spot else []),
            *wanted.create_flags,
            "--quiet",
        ]
        if wanted.queued:
            version = f"--runtime-version={wanted.version}"
            self._call("queued-resources", "create", f"--node-id={wanted.name}", version, *flags)
        else:
            self._call("tpu-vm", "create", f"--version={wanted.version}", *flags, limit=HOUR)

    def _described(self, group: str) -> dict[str, Any] | None:
        try:
            text = self._call(group, "describe", "--format=json")
        except GcloudError as error:
            if error.kind is gcloud.MISSING:
                return None
            raise
        return json.loads(text) if text else None

    def _call(self, group: str, verb: str, *flags: str, **how: Any) -> str:
        command = ("gcloud", "compute", "tpus", group, verb, self.wanted.name)
        return self.gcloud.run(*command, *self.wanted.place, *flags, **how)

    def _check_ours(self, node: dict[str, Any]) -> None:
        self._check_label(node)
        there, wanted = node.get("acceleratorType"), self.wanted.accelerator_type
        if wanted and there and there != wanted:
            raise UserError(
                f"--accelerator_type={wanted}: {self.wanted.name} is there already as {there}; "
                "name another with --name, or delete that with the action delete."
            )

    def _check_label(self, node: dict[str, Any]) -> None:
        if node.get("labels", {}).get(LABEL) != LABELLED:
            raise UserError(
                f"--name={self.wanted.name}: a TPU of that name is there that was not made with "
                f"this command (it has no label {LABEL}={LABELLED}); name another."
            )


def _node_of(queued: dict[str, Any]) -> dict[str, Any]:
    return queued["tpu"]["nodeSpec"][0]["node"]


def _reason(queued: dict[str, Any]) -> str:
    message = queued["state"].get("failedData", {}).get("error", {}).get("message")
    return f" ({message})" if message else ""
