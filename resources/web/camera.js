/* Where the map page looks: the whole area, or a place flown to; what happens when the panel changes its size. */
var NadirCamera = (function () {
  "use strict";

  var FLIGHT_S = 0.25;
  var OVERZOOM = 3; // levels beyond the imagery's own resolution: near enough to look at single pixels
  var UNDERZOOM = 4; // levels beyond the whole area: far enough to see where it lies

  function Camera(map) {
    this._map = map;
    this._still = window.matchMedia("(prefers-reduced-motion: reduce)");
    this._bounds = null;
    this._whole = false; // whether the view is the whole area
    this._flight = null; // where the view is on its way to, or waits to go once the panel has a size
    this.motion = true; // what the program says; the page's own media query may still forbid it
    map.on("moveend", function () {
      this._whole = this._isWhole();
      if (this._sized()) this._flight = null;
    }, this);
    // The whole area stays whole when the panel changes its size, until the user looks at a part of it; then what is
    // in the middle stays there.
    new ResizeObserver(this._resized.bind(this)).observe(map.getContainer());
  }

  /** Look at another area, at once. bounds: [[south, west], [north, east]]. */
  Camera.prototype.show = function (bounds, nativeZoom) {
    this._bounds = bounds;
    this._flight = null;
    this._map.invalidateSize({ pan: false });
    this._map.setMinZoom(0);
    this._map.setMaxZoom(nativeZoom + OVERZOOM);
    this.home(false);
  };

  Camera.prototype.home = function (animate) {
    if (!this._bounds) return;
    var view = this._wholeView();
    this._go(view.centre, view.zoom, animate);
    this._map.setMinZoom(Math.max(0, Math.floor(view.zoom) - UNDERZOOM));
  };

  /** Bring a square to the middle that is `side` px high now. The user's zoom stays while the square is neither a
   *  speck nor the whole view. */
  Camera.prototype.fly = function (at, side) {
    var zoom = this._map.getZoom();
    if (!this._sized()) {
      this._flight = { at: at, side: side, zoom: zoom };
      return;
    }
    this._go(at, this._near(side, zoom), true);
  };

  /** The zoom that shows a square well that is `side` px high at `zoom`. */
  Camera.prototype._near = function (side, zoom) {
    var size = this._map.getSize();
    var least = Math.min(size.x, size.y);
    if (side >= 0.25 * least && side <= 0.8 * least) return zoom;
    var better = Math.min(this._map.getMaxZoom(), zoom + Math.log2((0.4 * least) / Math.max(side, 1e-6)));
    return Math.round(better * 4) / 4;
  };

  Camera.prototype._sized = function () {
    var size = this._map.getSize();
    return size.x > 0 && size.y > 0;
  };

  Camera.prototype._go = function (at, zoom, animate) {
    if (!animate || !this.motion || this._still.matches) {
      this._map.setView(at, zoom, { animate: false });
      return;
    }
    this._map.flyTo(at, zoom, { duration: FLIGHT_S });
    this._flight = { at: at, zoom: zoom };
  };

  Camera.prototype._wholeView = function () {
    var map = this._map;
    var middle = map.project(this._bounds[0], 0).add(map.project(this._bounds[1], 0)).divideBy(2);
    // A panel that is not laid out yet has no size; the view is put right when it gets one.
    var size = map.getSize();
    var margin = Math.min(size.x, size.y) > 96 ? 24 : 0;
    var zoom = size.x && size.y ? map.getBoundsZoom(this._bounds, false, L.point(margin, margin)) : 0;
    return { centre: map.unproject(middle, 0), zoom: zoom };
  };

  Camera.prototype._isWhole = function () {
    if (!this._bounds) return false;
    var view = this._wholeView();
    var off = this._map.project(view.centre).distanceTo(this._map.project(this._map.getCenter()));
    return off < 2 && Math.abs(this._map.getZoom() - view.zoom) < 0.01;
  };

  Camera.prototype._resized = function () {
    // Both are told by every move, the resizing itself included.
    var whole = this._whole;
    var flight = this._flight;
    this._map.invalidateSize({ pan: !whole });
    if (whole) this.home(false);
    if (!flight || !this._sized()) {
      this._flight = flight;
      return;
    }
    // A panel that is laid out late must not call a flight back.
    var zoom = flight.zoom;
    if (flight.side !== undefined) {
      var now = this._map.getZoom();
      zoom = this._near(flight.side * Math.pow(2, now - zoom), now);
    }
    this._go(flight.at, zoom, false);
  };

  return Camera;
})();
