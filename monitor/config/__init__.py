"""The configuration as its users write it, read strictly; secrets only by reference."""

from monitor.config.configuration import CheckPlan, Configuration, Configured
from monitor.config.load import load
from monitor.config.problems import ConfigurationError, Problem

__all__ = ["CheckPlan", "Configuration", "ConfigurationError", "Configured", "Problem", "load"]
