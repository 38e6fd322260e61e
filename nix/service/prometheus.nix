# The same under the name and with the defaults of the older community service
# "prometheus", so that an inventory written for that works as it stands.
import ./service.nix { older = true; }
