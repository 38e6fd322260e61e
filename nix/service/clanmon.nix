# The clan service "clanmon".
import ./service.nix { name = "clanmon"; }
