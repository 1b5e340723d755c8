//! Traces.

use clap::Args;

/// Where traces go. What is not here (headers, sampling, batching) is read from the standard OTEL_ variables too.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Traces")]
pub struct TraceArgs {
    /// An OpenTelemetry collector that takes OTLP over HTTP, such as http://localhost:4318; without it no traces are exported.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    pub otel_exporter_otlp_endpoint: Option<String>,
    /// The address for traces, where it is not /v1/traces of that collector.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")]
    pub otel_exporter_otlp_traces_endpoint: Option<String>,
    /// Name of this process in traces; otherwise ld-connect-ingress or ld-connect-worker.
    #[arg(long, env = "OTEL_SERVICE_NAME")]
    pub otel_service_name: Option<String>,
    /// true exports no traces, whatever else is set.
    #[arg(long, env = "OTEL_SDK_DISABLED", default_value = "false", ignore_case = true, action = clap::ArgAction::Set)]
    pub otel_sdk_disabled: bool,
}

impl TraceArgs {
    /// Where traces are sent, if anywhere.
    #[must_use]
    pub fn endpoint(&self) -> Option<String> {
        if self.otel_sdk_disabled {
            return None;
        }
        let under = |base: &String| format!("{}/v1/traces", base.trim_end_matches('/'));
        let own = self.otel_exporter_otlp_traces_endpoint.clone();
        own.or_else(|| self.otel_exporter_otlp_endpoint.as_ref().map(under))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_endpoint_is_where_the_standard_variables_say() {
        let args = |base: Option<&str>, whole: Option<&str>| TraceArgs {
            otel_exporter_otlp_endpoint: base.map(str::to_owned),
            otel_exporter_otlp_traces_endpoint: whole.map(str::to_owned),
            ..TraceArgs::default()
        };
        assert_eq!(args(None, None).endpoint(), None);
        assert_eq!(args(Some("http://c:4318/"), None).endpoint().as_deref(), Some("http://c:4318/v1/traces"));
        assert_eq!(args(Some("http://c:4318"), Some("http://t/x")).endpoint().as_deref(), Some("http://t/x"));
        let off = TraceArgs { otel_sdk_disabled: true, ..args(Some("http://c:4318"), None) };
        assert_eq!(off.endpoint(), None);
    }
}
