"""A person with a browser: sign in, see one's projects, sign out."""

import json
import re

from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from house import Demo, call, check, expect, folder, with_token
from window import Walk, open_browser

with folder() as cwd, folder() as profile, Demo(cwd) as demo:
    facts = demo.facts
    private = call(facts.base_url, f"/api/v4/projects/{facts.private_project_id}", headers=with_token(facts.user_token))
    browser = open_browser(profile)
    walk = Walk(browser, facts)
    try:
        with check("chromium: without a session / leads to the sign-in page"):
            walk.open("/")
            expect("path", walk.path(), "/users/sign_in")
            walk.picture("sign-in")

        with check("chromium: the sign-in page fits a phone, with the banner of the demo"):
            assert browser.find_element(By.CLASS_NAME, "demo").is_displayed(), walk.text()
            walk.fits_a_phone()

        with check("chromium: a wrong password is told"):
            walk.fill_in("not " + facts.user_password)
            walk.wait_for(lambda: "Invalid login or password." in walk.text(), "the alert")
            assert "Check Caps Lock" in walk.text(), walk.text()
            walk.picture("sign-in-wrong")
            walk.fits_a_phone()

        with check("chromium: the right password leads to one's projects"):
            walk.open("/users/sign_in")
            first = browser.current_window_handle
            browser.switch_to.new_window("tab")
            walk.open("/users/sign_in")
            second = browser.current_window_handle
            browser.switch_to.window(first)
            walk.fill_in(facts.user_password)
            walk.wait_for(lambda: walk.path() == "/", "the first page")
            name = json.loads(private.text)["name"]
            walk.wait_for(lambda: name in walk.text(), f"the private project {name!r}")
            walk.picture("projects")

        with check("chromium: the sign-in form of a second tab leads on"):
            browser.switch_to.window(second)
            walk.fill_in(facts.user_password)
            walk.wait_for(lambda: walk.path() == "/", "the first page")
            browser.close()
            browser.switch_to.window(first)

        with check("chromium: the page itself asked the API, with the cookie alone"):
            asked = browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
            assert any("/api/v4/projects" in url for url in asked), f"asked for {asked}"
            assert not any("token" in url for url in asked), f"a token in {asked}"

        with check("chromium: the page that changes a password says the rule, whose it is, and what is wrong"):
            walk.open("/-/user_settings/password/edit")
            assert "8 to 128 characters." in walk.text(), walk.text()
            name = browser.find_element(By.CSS_SELECTOR, "input[autocomplete=username]")
            expect("user name", (name.get_attribute("value"), name.is_displayed()), (facts.user_login, False))
            walk.picture("password")
            walk.fits_a_phone()
            for field in "user[new_password]", "user[password_confirmation]":
                browser.find_element(By.NAME, field).send_keys("qwertyuiop")
            browser.find_element(By.NAME, "user[password]").send_keys("x" + Keys.ENTER)
            walk.wait_for(lambda: "is too easy to guess" in walk.text(), "the refusal")
            walk.picture("password-refused")

        with check("chromium: an error page shows the id of its request, and leads back"):
            walk.open("/nowhere")
            shown = browser.find_element(By.CSS_SELECTOR, ".request code").text
            assert re.fullmatch("[0-9A-HJKMNP-TV-Z]{26}", shown), shown
            walk.picture("nowhere")
            walk.fits_a_phone()
            browser.find_element(By.LINK_TEXT, "Back to your projects").click()
            walk.wait_for(lambda: walk.path() == "/", "the first page")

        with check("chromium: scripts cannot read the session cookie"):
            seen = browser.execute_script("return document.cookie")
            assert "_gitlab_session" not in seen, seen
            cookie = browser.get_cookie("_gitlab_session")
            expect("attributes", (cookie["httpOnly"], cookie["sameSite"], cookie["path"]), (True, "Lax", "/"))

        with check("chromium: the page's button signs out"):
            form = browser.find_element(By.CSS_SELECTOR, "form[action$='/users/sign_out']")
            form.find_element(By.CSS_SELECTOR, "button, input[type=submit]").click()
            walk.wait_for(lambda: walk.path() == "/users/sign_in", "the sign-in page")
            walk.open("/")
            expect("path afterwards", walk.path(), "/users/sign_in")
            old = call(facts.base_url, "/api/v4/user", headers={"Cookie": f"_gitlab_session={cookie['value']}"})
            expect("status with the old cookie", old.status, 401)

        with check("chromium: the console has nothing to complain of"):
            # It says 404 of the page that was not there.
            expect("complaints", [text for text in walk.complaints() if "/nowhere" not in text], [])
    finally:
        browser.quit()
