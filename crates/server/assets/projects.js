// The list is what the API gives to whoever holds the session cookie; no token is needed here, and none is seen.
const list = document.getElementById("projects");
const state = document.getElementById("state");
const more = document.getElementById("more");
let page = 1;

async function load() {
  more.hidden = true;
  try {
    const answer = await fetch(`/api/v4/projects?membership=true&order_by=name&sort=asc&per_page=50&page=${page}`);
    if (answer.status === 401) {
      location.assign("/users/sign_in");
      return;
    }
    if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
    const projects = await answer.json();
    projects.forEach((project) => list.append(row(project)));
    const total = answer.headers.get("X-Total");
    state.textContent = list.children.length === 0 ? "You are not a member of any project yet." : `${total ?? "Many"} in all`;
    more.hidden = !answer.headers.get("X-Next-Page");
    page += 1;
  } catch (error) {
    state.textContent = `The projects could not be loaded: ${error.message}. Load the page again to retry.`;
  }
}

function row(project) {
  const item = document.createElement("li");
  const name = document.createElement("strong");
  name.textContent = project.name_with_namespace;
  const badge = document.createElement("span");
  badge.className = "badge";
  badge.textContent = project.visibility;
  item.append(name, badge);
  if (project.description) {
    const description = document.createElement("p");
    description.textContent = project.description;
    item.append(description);
  }
  return item;
}

more.addEventListener("click", load);
load();
