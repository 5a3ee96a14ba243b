//! Tollhouse: an API authentication server that speaks the GitLab REST API.
//!
//! [`http_service`] takes every request; [`endpoint`] has the table of endpoints; [`operations`] is what a caller may
//! do, once, for every surface.

pub mod api;
pub mod app;
pub mod bodies;
pub mod cli;
pub mod config;
pub mod connection;
pub mod cors;
pub mod device;
pub mod endpoint;
pub mod entity;
pub mod error;
pub mod explain;
#[cfg(feature = "faults")]
pub mod faults;
pub mod file_access;
pub mod gateway;

pub mod hasher;
pub mod http_service;
pub mod job;
pub mod json;
pub mod keys;
pub mod load;
pub mod log;
pub mod metrics;
pub mod metrics_page;
pub mod network;
pub mod node;
pub mod oauth;
pub mod operations;
pub mod origin;
pub mod params;
pub mod probes;
pub mod proxies;
pub mod refusal;
pub mod request;
pub mod routes;
pub mod serve;
pub mod surface;
pub mod target;
pub mod urls;
pub mod web;
pub mod workers;
