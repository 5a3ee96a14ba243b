//! Why something was refused, as a label.

/// Every code there is, in the order of the alphabet. A series stands there from the start with a zero, so that the
/// first refusal of its kind shows as a change.
pub const REASONS: [&str; 83] = [
    "access_denied",
    "account_blocked",
    "account_deactivated",
    "account_internal",
    "account_password_expired",
    "account_pending_approval",
    "account_unconfirmed",
    "api_v3",
    "bad_host",
    "bad_request",
    "bodies_full",
    "body_too_large",
    "body_too_slow",
    "broken_json",
    "busy",
    "consent_required",
    "crooked_path",
    "expired",
    "forbidden",
    "forged",
    "format",
    "head_too_large",
    "identity_header",
    "impersonation_disabled",
    "insufficient_scope",
    "interaction_required",
    "internal",
    "invalid",
    "invalid_client",
    "invalid_code_challenge_method",
    "invalid_grant",
    "invalid_redirect_uri",
    "invalid_request",
    "invalid_scope",
    "invalid_token",
    "limit",
    "locked_out",
    "login_required",
    "malformed",
    "media_type",
    "method_not_allowed",
    "missing",
    "no_api_version",
    "no_keyset",
    "no_route",
    "no_rule",
    "no_rules",
    "not_a_member",
    "not_a_peer",
    "not_administrator",
    "not_for_administrators",
    "not_found",
    "not_implemented",
    "not_yours",
    "odd_header",
    "parameters",
    "password_locked",
    "refresh_idle",
    "reused",
    "revoked",
    "settling",
    "several_sessions",
    "sign_in_failures",
    "signed_in_already",
    "storage_full",
    "sudo_invalid",
    "sudo_not_administrator",
    "sudo_unknown",
    "sudo_without_token",
    "target_too_long",
    "too_many_parameters",
    "two_bearers",
    "unauthorized_client",
    "unavailable",
    "unbound_rule",
    "unclear_question",
    "unconfirmed_email",
    "unknown",
    "unsupported_grant_type",
    "unsupported_response_mode",
    "unsupported_response_type",
    "wrong_host",
    "wrong_password",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_and_documented() {
        assert!(REASONS.is_sorted_by(|a, b| a < b), "a code is searched for by halves");
        let documented = include_str!("../../../../docs/deploy.md");
        for reason in REASONS {
            let first_cells = documented.lines().filter_map(|line| line.strip_prefix("| ")?.split('|').next());
            let rows = first_cells.filter(|cell| cell.contains(&format!("`{reason}`"))).count();
            assert_eq!(rows, 1, "docs/deploy.md explains {reason} in so many rows");
        }
    }
}
