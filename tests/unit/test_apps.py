"""Apps and the file that names them."""

from pathlib import Path

import pytest

from node.config.apps import App, Apps, choose_app, load_apps
from node.config.keys import ConfigError

TWO_APPS = """
[[apps]]
id = "1"
key = "one"
secret = "s1"

[[apps]]
id = "2"
key = "two"
secrets = ["new", "old"]
name = "Shop"
enabled = false
allowed_origins = ["https://*.example.com"]
watchlist_limit = 5
"""


def write(tmp_path: Path, text: str) -> Path:
    """Write an apps.toml and return where it is."""
    path = tmp_path / "apps.toml"
    path.write_text(text)
    return path


def test_file_gives_apps_when_it_is_right(tmp_path: Path) -> None:
    """One secret or several, defaults where nothing is said."""
    one, two = load_apps(write(tmp_path, TWO_APPS))
    assert one == App(id="1", key="one", secrets=("s1",))
    assert (two.secrets, two.name, two.enabled, two.watchlist_limit) == (("new", "old"), "Shop", False, 5)


def test_file_gives_no_apps_when_it_is_empty(tmp_path: Path) -> None:
    """An operator may start with no tenants."""
    assert load_apps(write(tmp_path, "")) == ()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("apps = 3", "apps: expected [[apps]] tables"),
        ("app = 3", "app: there is no such key; did you mean apps?"),
        ('[[apps]]\nid = "1"\nkey = "k"', "apps[1] (id '1'): secrets: expected a list of one or more texts, got nothing"),
        ('[[apps]]\nid = "a b"\nkey = "k"\nsecret = "s"', "id: expected a text of 1 to 200 characters without blanks"),
        ('[[apps]]\nid = "1"\nkey = "a:b"\nsecret = "s"', "key: expected a text of 1 to 200 characters without blanks"),
        ('[[apps]]\nid = 1\nkey = "k"\nsecret = "s"', "apps[1]: id: expected"),
        ('[[apps]]\nid = "1"\nkey = "k"\nsecret = "s"\nsecrets = ["t"]', "expected secret or secrets, got both"),
        ('[[apps]]\nid = "1"\nkey = "k"\nsecret = "s"\nmax_conections = 1', "did you mean max_connections?"),
        ('[[apps]]\nid = "1"\nkey = "k"\nsecret = "s"\nterminate_code = 1000', "an integer from 4000 to 4999, got 1000"),
        (TWO_APPS.replace('"2"', '"1"'), "id '1' belongs to more than one app"),
        (TWO_APPS.replace('"two"', '"one"'), "key 'one' belongs to more than one app"),
    ],
)  # fmt: skip
def test_file_is_refused_with_its_name_when_it_is_wrong(tmp_path: Path, text: str, problem: str) -> None:
    """Errors name the file, the app, the key and the expectation."""
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_apps(path)
    assert problem in str(caught.value)
    assert all(line.startswith(str(path)) for line in caught.value.problems)


@pytest.mark.parametrize("line", ['secret = ["hush"]', 'secrets = "hush"', 'secrets = ["hush", 1]', 'secret_ = "hush"'])
def test_file_error_hides_the_secret_when_it_is_wrong(tmp_path: Path, line: str) -> None:
    """A misplaced secret does not end in a log."""
    with pytest.raises(ConfigError) as caught:
        load_apps(write(tmp_path, f'[[apps]]\nid = "1"\nkey = "k"\n{line}'))
    assert "hush" not in str(caught.value)


def test_app_hides_its_secrets_when_it_is_shown() -> None:
    """A log line with an app is harmless."""
    app = App(id="1", key="k", secrets=("hush", "hush2"))
    assert "hush" not in f"{app} {app!r} {app.__rich_repr__()}"
    assert "id='1'" in repr(app)


def test_apps_find_one_by_key_and_by_id() -> None:
    """Clients know the key, the API knows the id."""
    app = App(id="1", key="k", secrets=("s",))
    apps = Apps([app])
    assert (apps.by_id("1"), apps.by_key("k"), list(apps), len(apps)) == (app, app, [app], 1)
    assert (apps.by_id("k"), apps.by_key("1")) == (None, None)


def test_apps_change_in_place_when_replaced() -> None:
    """Those who hold the object see the new apps, and the old ones are gone."""
    apps = Apps([App(id="1", key="k", secrets=("s",))])
    apps.replace([App(id="2", key="l", secrets=("s",))])
    assert [app.id for app in apps] == ["2"]
    assert apps.by_key("k") is None


def test_apps_stay_when_the_new_ones_clash() -> None:
    """Two apps with one key are refused, and nothing changes."""
    apps = Apps([App(id="1", key="k", secrets=("s",))])
    with pytest.raises(ConfigError, match="key 'l' belongs to more than one app"):
        apps.replace([App(id="2", key="l", secrets=("s",)), App(id="3", key="l", secrets=("s",))])
    assert [app.id for app in apps] == ["1"]


def test_app_is_chosen_by_its_id_or_is_the_first_that_works() -> None:
    """What a check without further words signs in to."""
    apps = [App(id="1", key="k", secrets=("s",), enabled=False), App(id="2", key="l", secrets=("s",))]
    assert [choose_app(apps, app_id, "apps.toml").id for app_id in (None, "1", "2")] == ["2", "1", "2"]
    with pytest.raises(ConfigError, match=r"apps\.toml: apps: expected an app with the id 3, got none"):
        choose_app(apps, "3", "apps.toml")
    with pytest.raises(ConfigError, match=r"apps\.toml: apps: expected an app, got none"):
        choose_app(apps[:1], None, "apps.toml")
