"""The dashboards of Grafana, written in Python; what Grafana reads is in `dashboards/`: `make dashboards` writes it anew."""
