//! OAuth applications (rest-api.md section 5).

use tollhouse_domain::application::Application;

use crate::json::Object;

pub fn application(application: &Application) -> Object {
    Object::default()
        .field("id", application.id)
        .field("application_id", &application.uid)
        .field("application_name", &application.name)
        .field("callback_url", application.redirect_uris.to_string())
        .field("confidential", application.confidential)
}
