"""A real browser, for the checks that need eyes."""

import json
import shutil

from selenium import webdriver
from selenium.common.exceptions import TimeoutException, WebDriverException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from house import PARTS

SCREENSHOTS = PARTS / "screenshots"
SIZES = {"wide": (1280, 900), "narrow": (360, 780)}
FLAGS = """--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --no-proxy-server --disable-quic
           --disable-background-networking --disable-component-update --disable-sync""".split()


def open_browser(profile, logs=("browser",)):
    """`logs`: what to keep; `performance` has every address that the browser was sent to."""
    options = webdriver.ChromeOptions()
    # Both are named, else selenium looks for them, and may try to download them.
    options.binary_location = shutil.which("chromium")
    for flag in [*FLAGS, f"--user-data-dir={profile}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {name: "ALL" for name in logs})
    browser = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    browser.set_page_load_timeout(30)
    return browser


class Walk:
    def __init__(self, browser, facts):
        self.browser = browser
        self.facts = facts

    def open(self, path):
        self.browser.get(self.facts.base_url + path)

    def path(self):
        return self.browser.current_url.removeprefix(self.facts.base_url)

    def text(self):
        return self.browser.find_element(By.TAG_NAME, "body").text

    def wait_for(self, done, what):
        try:
            # Between two pages there may be no body, or one that is gone by the time it is read.
            WebDriverWait(self.browser, 20, ignored_exceptions=[WebDriverException]).until(lambda _: done())
        except TimeoutException:
            raise AssertionError(f"waited for {what} at {self.path()}: {self.text()}") from None

    def fill_in(self, password):
        for name, value in ("user[login]", self.facts.user_login), ("user[password]", password):
            field = self.browser.find_element(By.NAME, name)
            field.clear()
            field.send_keys(value)
        field.send_keys(Keys.ENTER)

    def picture(self, page):
        """Both sizes; nobody should have to scroll sideways."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        for size, (width, height) in SIZES.items():
            metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == "narrow"}
            self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
            self.browser.save_screenshot(str(SCREENSHOTS / f"{page}-{size}.png"))
            needed = self.browser.execute_script("return document.documentElement.scrollWidth")
            assert needed <= width, f"{page} needs {needed} of {width} pixels"
        self.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})

    def sent_to(self, scheme):
        """The addresses with this scheme that the browser was sent to since it was asked last."""
        events = [json.loads(entry["message"])["message"] for entry in self.browser.get_log("performance")]
        urls = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
        return [url for url in urls if url.startswith(f"{scheme}:")]

    def complaints(self):
        """What the console holds against the pages; browsers ask for an icon on their own."""
        grave = [entry for entry in self.browser.get_log("browser") if entry["level"] == "SEVERE"]
        return [entry["message"] for entry in grave if "/favicon.ico" not in entry["message"]]
