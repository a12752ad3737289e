"""THE WIRE. A registry as a target. The only room that imports httpx."""
