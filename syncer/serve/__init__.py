"""What an operator watches: metrics, health over HTTP, word to systemd."""
