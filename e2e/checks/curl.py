"""Every line that `tollhouse demo` prints for pasting does what is said above it, pasted in the order printed."""

import json
import re
import subprocess
import time
from urllib.parse import parse_qs, urlsplit

from clients import browser
from house import Server, check, folder, until

SPELLINGS = {
    "private_token=": r"[?&]private_token=",
    "PRIVATE-TOKEN": r"(?i)private-token:",
    "Bearer": r"Authorization: Bearer",
    "access_token=": r"[?&]access_token=",
    "the session cookie": r" -b | --cookie |_gitlab_session",
}

# What is said above the lines that show a refusal, and the status of that.
REFUSALS = {"No such token": 401, "A read-only token, used for a write": 403}


class PlainDemo(Server):
    def __init__(self, cwd):
        super().__init__(cwd, "demo", "--listen", "127.0.0.1:0")

    def find_url(self):
        found = re.search(r"curl .*?(http://127\.0\.0\.1:\d+)", self.output())
        return found and found[1]

    def code(self, address):
        """What a person finds in their address bar who went there."""
        person = re.search(r"sign in as (\S+), password (\w+)", self.output())
        [code] = parse_qs(urlsplit(browser.walk(address, *person.groups())).query)["code"]
        return code

    def lines_to_paste(self):
        """Pairs: a line, and what is said above it. In place of CODE stands what the address above it led to."""
        said, code, pairs = "", "CODE", []
        for line in map(str.strip, self.output().replace("\\\n", " ").splitlines()):
            if line.startswith("curl "):
                pairs.append((line.replace("CODE", code), said))
            elif line.startswith("http") and "/oauth/authorize?" in line:
                code = self.code(line)
            elif line:
                said = line
        return pairs


def paste(lines, cwd):
    """All lines in one shell, as a person would: files and variables of one are there for the next."""
    script = ['curl() { command curl --fail-with-body -sS --max-time 10 "$@"; }']
    giver = None
    for number, line in enumerate(lines):
        for name in "access_token", "refresh_token":
            # The places for them stand between single quotes.
            line = line.replace(name.upper(), f"""'"$(jq -r .{name} {giver}.out)"'""")
        if "grant_type=authorization_code" in line:
            giver = number
        script += [f"{{ {line}", f"}} >{number}.out 2>{number}.err", f"echo $? >{number}.code"]
    limit = 15 * len(lines)
    subprocess.run(["bash", "-c", "\n".join(script)], cwd=cwd, stdin=subprocess.DEVNULL, timeout=limit, check=True)


def quiet_for_a_moment(demo):
    before = demo.output()
    time.sleep(0.5)
    return demo.output() == before


def shown(line):
    """A line as it may stand in a log: without what it reveals."""
    line = re.sub(r"http://127[.\d]+:\d+", "", line)
    line = re.sub(r"\b[0-9a-f]{64}\b", "…", line)
    return re.sub(r"(glpat-|gloas-|_gitlab_session=|X-CSRF-Token: |authenticity_token=)[\w.-]+", r"\1…", line)


with folder() as cwd, PlainDemo(cwd) as demo:
    # The lines are complete when no more come.
    until(lambda: quiet_for_a_moment(demo), "the last line")
    pairs = demo.lines_to_paste()
    lines = [line for line, _ in pairs]

    for name, pattern in SPELLINGS.items():
        with check(f"curl: a line with {name} is printed"):
            assert any(re.search(pattern, line) for line in lines), f"none of {len(lines)} lines"

    with folder() as shell:
        paste(lines, shell)
        for number, (line, said) in enumerate(pairs):
            with check(f"curl: {shown(line)}"):
                out, err, code = ((shell / f"{number}.{part}").read_text() for part in ("out", "err", "code"))
                refusal = next((status for words, status in REFUSALS.items() if said.startswith(words)), None)
                if refusal:
                    assert f"returned error: {refusal}" in err, f"expected {refusal}: {err} {out}"
                else:
                    assert code.strip() == "0", f"{err} {out}"
                if "%{redirect_url}" in line:
                    assert "code=" in out, out
                elif "/api/" in line or "/oauth/" in line:
                    json.loads(out)
