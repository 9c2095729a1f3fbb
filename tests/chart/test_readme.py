"""What k8s/README.md tells people to type and to set is there: values, objects and commands."""

import json
import re
from collections.abc import Iterator

import pytest
import yaml

from k8s import reference
from tests.chart.helm import Object, helm, render

README = reference.README.read_text().partition("\n## Values")[0]
SCHEMA = json.loads(reference.SCHEMA.read_text())
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) for line in block.splitlines() if line]


def blocks() -> list[Object]:
    """The examples of values."""
    found = (yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", README, re.DOTALL))
    return [block for block in found if "rules" not in block]  # those are prometheus-adapter's


def names() -> Iterator[str]:
    """Every dotted name in the text that begins as a value of the chart does."""
    for name in re.findall(r"`([a-zA-Z_]+(?:\.[a-zA-Z_]+)+)(?:: [^`]*)?`", README):
        if name.split(".", maxsplit=1)[0] in SCHEMA["properties"]:
            yield name


def is_known(name: str) -> bool:
    """Whether there is such a value, or a table of them."""
    place = SCHEMA
    for key in name.split("."):
        place = reference.resolved(SCHEMA, place)
        if "properties" not in place:
            return place.get("type") == "object" and place.get("additionalProperties") is not False  # Kubernetes' own
        if key not in place["properties"]:
            return False
        place = place["properties"][key]
    return True


@pytest.mark.parametrize("values", blocks(), ids=lambda values: next(iter(values)))
def test_examples_of_values_can_be_installed(values: Object) -> None:
    """As they stand."""
    assert render(values).objects


@pytest.mark.parametrize("name", sorted(set(names())))
def test_values_that_the_text_names_exist(name: str) -> None:
    """By their whole names."""
    assert is_known(name)


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("helm ")])
def test_helm_commands_set_what_can_be_set(command: str) -> None:
    """Of a chart that is where they say."""
    assert "k8s/usher" in command or " test " in command
    for expression in re.findall(r"--set (\S+)", command):
        assert render(json.loads(helm._native.call_string("helm_strvals_parse", expression))).objects


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("kubectl -n chat ")])
def test_kubectl_commands_name_objects_that_a_release_has(command: str) -> None:
    """One that is called `usher`, as in the text."""
    release = render(name="usher")
    there = {(item["kind"].lower(), item["metadata"]["name"]) for item in release.objects}
    named = re.findall(r"\b(secret|service|deployment)[/ ]([a-z-]+)", command)
    assert set(named) <= there
    for key in re.findall(r"\.data\.(\w+)", command):
        (_, secret), *_ = named
        assert key in release.one("Secret", secret)["data"]
    for port in re.findall(r" \d+:(\d+)$", command):
        assert int(port) in [item["port"] for item in release.one("Service", "usher")["spec"]["ports"]]


def test_seconds_of_a_leaving_pod_are_those_of_the_defaults() -> None:
    """The table of the text adds up."""
    rows = [int(second) for second in re.findall(r"^\| (\d+) \| ", README, re.MULTILINE)]
    stated = yaml.safe_load(reference.VALUES.read_text())
    drain, slack = stated["config"]["drain"], stated["terminationSlackSeconds"]
    pod = render().pod
    sleep = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    delay, spread = int(drain["delay"]), int(drain["spread"])
    assert rows[:4] == [0, sleep, sleep + delay, sleep + delay + spread]
    assert rows[4:] == [pod["terminationGracePeriodSeconds"] - slack, pod["terminationGracePeriodSeconds"]]
