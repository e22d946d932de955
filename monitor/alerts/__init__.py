"""Who is told what: decided (policy), worded (render), kept until it arrived (outbox), sent (channels)."""
