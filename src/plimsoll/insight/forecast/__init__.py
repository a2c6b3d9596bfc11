"""What will arrive: online forecasts of a service's rate, with how wrong they have been. See docs/scaling.md."""
