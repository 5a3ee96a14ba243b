"""python-gitlab, as released, with every way it has of showing a token."""

import warnings

import gitlab

from house import Demo, check, expect, folder

# It warns where an answer is not what it knows, such as links that lead to another host.
warnings.simplefilter("error", UserWarning)

with folder() as cwd, Demo(cwd) as demo:
    facts = demo.facts

    def client(token=None, **how):
        return gitlab.Gitlab(facts.base_url, timeout=20, **({"private_token": token} if token else {}), **how)

    for spelling in "private_token", "oauth_token":
        with check(f"python-gitlab: {spelling}"):
            gl = client(**{spelling: facts.user_token})
            gl.auth()
            expect("username", gl.user.username, facts.user_login)
            listed = [p.id for p in gl.projects.list(get_all=True)]
            assert facts.private_project_id in listed, f"private project not among {listed}"
            project = gl.projects.get(facts.private_project_id)
            expect("project by id", project.id, facts.private_project_id)
            by_path = gl.projects.get(project.path_with_namespace)
            expect("project by path", by_path.id, facts.private_project_id)

        with check(f"python-gitlab: a wrong {spelling} is refused"):
            gl = client(**{spelling: facts.user_token[:-1] + "~"})
            try:
                gl.auth()
                raise AssertionError("it was let in")
            except gitlab.exceptions.GitlabAuthenticationError as refusal:
                expect("status", refusal.response_code, 401)
                expect("message", refusal.error_message, "401 Unauthorized")

    for parameter in "private_token", "access_token":
        with check(f"python-gitlab: ?{parameter}="):
            user = client().http_get("/user", query_data={parameter: facts.user_token})
            expect("username", user["username"], facts.user_login)

    with check("python-gitlab: nobody sees public projects only"):
        gl = client()
        listed = [p.id for p in gl.projects.list(get_all=True)]
        assert facts.public_project_id in listed, f"public project not among {listed}"
        assert not {facts.internal_project_id, facts.private_project_id} & set(listed), f"too much in {listed}"
        expect("public project", gl.projects.get(facts.public_project_id).id, facts.public_project_id)
        for hidden in facts.internal_project_id, facts.private_project_id:
            try:
                gl.projects.get(hidden)
                raise AssertionError(f"nobody was shown project {hidden}")
            except gitlab.exceptions.GitlabGetError as refusal:
                expect("status", refusal.response_code, 404)

    with check("python-gitlab: sudo"):
        user = client(facts.admin_token).http_get("/user", sudo=facts.user_login)
        expect("username", user["username"], facts.user_login)
        try:
            client(facts.user_token).http_get("/user", sudo=facts.user_login)
            raise AssertionError("sudo without being an administrator")
        except gitlab.exceptions.GitlabHttpError as refusal:
            expect("status", refusal.response_code, 403)

    with check("python-gitlab: pages of one, walked by their links"):
        gl = client(facts.user_token)
        pages = gl.projects.list(iterator=True, per_page=1)
        expect("rows of a page", pages.per_page, 1)
        walked = [p.id for p in pages]
        expect("all rows", sorted(walked), sorted({p.id for p in gl.projects.list(get_all=True)}))
        expect("total", pages.total, len(walked))
        assert len(walked) > 1, "nothing to walk"
        second = gl.projects.list(page=2, per_page=1, get_all=False)
        expect("second page", [p.id for p in second], walked[1:2])
