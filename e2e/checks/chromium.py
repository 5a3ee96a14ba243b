"""A person with a browser: sign in, see one's projects, sign out."""

import json

from selenium.webdriver.common.by import By

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

        with check("chromium: a wrong password is told"):
            walk.fill_in("not " + facts.user_password)
            walk.wait_for(lambda: "Invalid login or password." in walk.text(), "the alert")

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
            expect("complaints", walk.complaints(), [])
    finally:
        browser.quit()
