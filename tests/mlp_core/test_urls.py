"""Passwords and tokens in URLs."""

import json

import pytest
from ml_collections import ConfigDict

from mlp_core.errors import UserError
from mlp_core.run_folder.run_directory import differences_to_run, save_config
from mlp_core.urls import masked, without_secrets
from mlp_core.weights.downloads import place_in

SECRET = "s3cret"
WITH_SECRETS = [
    f"https://user:{SECRET}@example.org/x.npz",
    f"https://{SECRET}@example.org/x.npz",
    f"https://user:a@{SECRET}@example.org/x.npz",
    f"https://user:a/{SECRET}@example.org/x.npz",
    f"https://user:a#{SECRET}@[::1/x.npz",
    f"http://user:{SECRET}@proxy:3128",
    f"https://example.org/x.npz?token={SECRET}",
    f"https://example.org/x.npz?e=1&X-Amz-Signature={SECRET}&f=2",
    f"https://example.org/x.npz?X-Amz-Credential={SECRET}&X-Amz-Security-Token={SECRET}",
    f"https://example.org/x.npz?X-Goog-Signature={SECRET};Signature={SECRET}",
    f"https://example.org/x.npz?sv=2020&sig={SECRET}",
    f"https://example.org/x.npz?AWSAccessKeyId={SECRET}&api_key={SECRET}&apikey={SECRET}",
    f"https://example.org/x.npz?password={SECRET}&Key-Pair-Id={SECRET}&Policy={SECRET}",
    f"https://example.org/x.npz#access_token={SECRET}",
]
WITHOUT = [
    "https://example.org:8080/a@b/x.npz?e=1&revision=main",
    "https://example.org/@scope/x.npz",
    "hf://timm/mixer_b16_224.goog_in21k",
    "gs://bucket/a:b@c/x.npz",
    "/data/user:word@home/x.npz",
    "runs/a?b=c",
    "train[:10%]: https://example.org, then x@y",
]


@pytest.mark.parametrize("url", WITH_SECRETS)
def test_no_message_holds_a_password_or_token(url):
    for text in (url, f"error: {url}: cannot be fetched.", f"{url!r} and {url}", f"(see {url})"):
        assert SECRET not in masked(text) and "***" in masked(text)
        assert SECRET not in str(UserError(text))
    assert masked(masked(url)) == masked(url)


def test_the_punctuation_of_a_message_stays():
    text = f"https://a.org/x?token={SECRET}: cannot be fetched (see https://a.org?sig={SECRET})."
    assert (
        masked(text) == "https://a.org/x?token=***: cannot be fetched (see https://a.org?sig=***)."
    )


@pytest.mark.parametrize("text", WITHOUT)
def test_other_texts_stay_as_they_are(text):
    assert masked(text) == text and without_secrets(text) == text


@pytest.mark.parametrize("url", WITH_SECRETS)
def test_no_path_holds_a_password_or_token(tmp_path, url):
    place = str(place_in(tmp_path, url))
    assert SECRET not in place and "user" not in place


def test_a_path_keeps_what_tells_files_apart(tmp_path):
    url = f"https://user:{SECRET}@a.org/x.npz?token={SECRET}&e=1&sig={SECRET}"
    assert place_in(tmp_path, url) == tmp_path / "a.org" / "?e=1" / "x.npz"
    assert place_in(tmp_path, f"https://a.org/x.npz?sig={SECRET}") == tmp_path / "a.org" / "x.npz"


@pytest.mark.parametrize("url", WITH_SECRETS)
def test_a_run_keeps_no_secret_and_resumes_with_the_same_url(tmp_path, url):
    config = ConfigDict({"init": {"weights": url}, "seed": 0})
    save_config(tmp_path, config)
    assert SECRET not in (tmp_path / "config.json").read_text()
    (tmp_path / "checkpoints" / "1").mkdir(parents=True)
    assert differences_to_run(tmp_path, config) == []
    config.init.weights = "https://example.org/other.npz"
    (difference,) = differences_to_run(tmp_path, config)
    assert "config.init.weights" in difference and SECRET not in difference


def test_a_run_of_before_that_kept_the_secret_is_resumed(tmp_path):
    config = ConfigDict({"init": {"weights": WITH_SECRETS[0]}})
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict()))
    (tmp_path / "checkpoints" / "1").mkdir(parents=True)
    assert differences_to_run(tmp_path, config) == []
