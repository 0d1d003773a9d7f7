"""What can be wrong with manifests although their schema says yes: rendering, and one small function per mistake."""
