"""Addresses of devices: what is one, and what poses as one."""

import hwc
import pytest
from hwc.backends.ssh_address import Address
from hwc.toolchain.errors import UsageError

GOOD = {
    "ssh://orin": Address("orin"),
    "ssh://orin/": Address("orin"),
    "SSH://Orin.local": Address("Orin.local"),  # names in ~/.ssh/config have case
    "ssh://pi@10.0.0.7": Address("10.0.0.7", "pi"),
    "ssh://ci.bot+1@orin:2222": Address("orin", "ci.bot+1", 2222),
    "ssh://[::1]": Address("::1"),
    "ssh://pi@[fe80::1%eth0]:22": Address("fe80::1%eth0", "pi", 22),
    "ssh://orin?python=/opt/venv/bin/python": Address("orin", python="/opt/venv/bin/python"),
    "ssh://orin/?python=python3.12": Address("orin", python="python3.12"),
    "ssh://orin?python=~/venv/bin/python": Address("orin", python="./venv/bin/python"),
    "ssh://orin?python=/a%20b%3Bc": Address("orin", python="/a b;c"),
}
BAD = {
    "nothing": "",
    "no scheme": "pi@orin",
    "another scheme": "http://orin",
    "no host": "ssh://",
    "no host, but a user": "ssh://pi@",
    "an option for a host": "ssh://-oProxyCommand=touch owned",
    "an option for a user": "ssh://-oProxyCommand=x@orin",
    "an option in brackets": "ssh://[-oProxyCommand=x]",
    "a password": "ssh://pi:raspberry@orin",
    "a command": "ssh://orin;reboot",
    "a space": "ssh://orin reboot",
    "a line": "ssh://orin\nreboot",
    "a line at the end": "ssh://orin\n",
    "a variable": "ssh://$HOST",
    "a substitution": "ssh://`id`",
    "a percent token of ssh": "ssh://%h",
    "two users": "ssh://a@b@orin",
    "a path": "ssh://orin/home/pi",
    "a fragment": "ssh://orin#x",
    "port zero": "ssh://orin:0",
    "a port too high": "ssh://orin:65536",
    "a port that is no number": "ssh://orin:ssh",
    "a port in other digits": "ssh://orin:\u0662\u0662",
    "no port after the colon": "ssh://orin:",
    "another setting": "ssh://orin?shell=sh",
    "a second setting": "ssh://orin?python=a&python=b",
    "an empty Python": "ssh://orin?python=",
    "an option for a Python": "ssh://orin?python=-c",
    "an option behind an escape": "ssh://orin?python=%2Dc",
    "a line in a Python": "ssh://orin?python=a%0Ab",
    "a zero byte in a Python": "ssh://orin?python=a%00",
    "letters that look like others": "ssh://\u043erin",
}


@pytest.mark.parametrize(("text", "address"), GOOD.items(), ids=list(GOOD))
def test_an_address(text: str, address: Address) -> None:
    assert Address.parse(text) == address


@pytest.mark.parametrize("text", BAD.values(), ids=list(BAD))
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        Address.parse(text)
    assert str(refused.value).isprintable()
    assert "ssh://[user@]host[:port]" in refused.value.hint


@pytest.mark.parametrize("text", ["ssh://orin", "ssh://pi@[fe80::1%eth0]:22", "ssh://a@b:1"])
def test_it_is_written_as_it_is_read(text: str) -> None:
    assert str(Address.parse(text)) == text


def test_nothing_after_the_options_can_be_taken_for_one() -> None:
    address = Address.parse("ssh://pi@[::1]:2222")
    assert address.arguments == ("-p", "2222", "-l", "pi", "--", "::1")
    assert Address.parse("ssh://orin").arguments == ("--", "orin")


def test_what_a_person_types() -> None:
    address = Address.parse("ssh://pi@orin:2222?python=/a%20b/python")
    assert address.by_hand == "ssh -p 2222 pi@orin"
    assert Address.parse("ssh://orin").by_hand == "ssh orin"
    assert address.install == (
        f"'/a b/python' -m pip install --no-deps hwc-compiler=={hwc.__version__} && "
        "'/a b/python' -m pip install numpy onnxruntime"
    )
