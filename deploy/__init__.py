"""What operators start from: image, compose file, systemd unit, Prometheus rules, Grafana dashboard, examples."""
