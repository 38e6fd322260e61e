import { useMemo } from 'preact/hooks';
import { vector } from '../../api/prom';
import type { Labels } from '../../api/types/query';
import { Empty, ErrorNote, Loading, Panel } from '../../components/bits';
import { Status } from '../../components/Status';
import { format, type Unit } from '../../lib/format';
import { against, valued } from '../../lib/limits';
import { pick } from '../../lib/machine';
import { useData } from '../../state/data';
import { useLimiting } from '../../state/limits';
import { Chart, has, judged, NoKind, useAbout } from './context';

const FACTS =
  'node_hwmon_(chip_names|sensor_label|temp_celsius|temp_crit_celsius|temp_max_celsius|fan_rpm|fan_min_rpm|in_volts)|node_dmi_info|node_cpu_info|node_edac_.*_errors_total|node_power_supply_(info|capacity|online)|node_thermal_zone_temp|node_memory_MemTotal_bytes';

export function Hardware() {
  const a = useAbout();
  const { m } = a;
  const got = useData(`hardware ${m} ${a.when ?? ''}`, (s) => vector(`{__name__=~"${FACTS}",${m}}`, a.when, s));
  // The name of a sensor: its own, else that of its chip and number.
  const nameOf = useMemo(() => {
    const chips = new Map(pick(got.data, 'node_hwmon_chip_names').map((c) => [c.labels.chip, c.labels.chip_name]));
    const sensors = new Map(
      pick(got.data, 'node_hwmon_sensor_label').map((c) => [`${c.labels.chip} ${c.labels.sensor}`, c.labels.label]),
    );
    const short = (l: Labels) =>
      `${chips.get(l.chip) ?? l.chip ?? ''} ${sensors.get(`${l.chip} ${l.sensor}`) ?? l.sensor ?? ''}`;
    // Two processors have a "coretemp Core 0" each.
    const all = pick(got.data, 'node_hwmon_temp_celsius').map((t) => short(t.labels));
    return (l: Labels) => (all.filter((n) => n === short(l)).length > 1 ? `${short(l)} (${l.chip})` : short(l));
  }, [got.data]);
  const all = useLimiting(judged(a));
  const critical = against(all, 'TooHot', a.name);
  const crit = useData(critical ? `limit ${critical} ${a.when ?? ''}` : null, (s) => vector(critical!, a.when, s), 300);
  if (!has(a, 'node_*')) return <NoKind kind="node" metrics="hardware" />;
  if (!got.data && !got.error) return <Loading />;
  const temps = has(a, 'node_hwmon_temp_celsius', 'node_thermal_zone_temp');
  const any =
    temps ||
    has(
      a,
      'node_hwmon_*',
      'node_cpu_scaling_frequency_hertz',
      'node_cpu_frequency_hertz',
      'node_rapl_*',
      'node_edac_correctable_errors_total',
      'node_power_supply_*',
      'node_cooling_device_cur_state',
    );
  return (
    <>
      <div class="mgrid">
        <ErrorNote error={got.error} what="The sensors could not be loaded" />
        {!any && (
          <div class="panel all">
            <Empty
              icon="info"
              title="No sensors"
              why={
                got.data?.some((s) => s.metric.__name__ === 'node_dmi_info')
                  ? 'The kernel reports no temperatures, fans or power. Virtual machines have none. On hardware a driver may be missing: run sensors-detect.'
                  : 'Neither the kernel nor the exporter reports any. Virtual machines have none. On hardware a driver may be missing.'
              }
            />
          </div>
        )}
        {temps && (
          <Chart
            title="Temperature"
            unit="celsius"
            limits={() =>
              valued(
                all,
                'TooHot',
                (crit.data ?? []).map((s) => Number(s.value?.[1])),
              )
            }
            queries={
              has(a, 'node_hwmon_temp_celsius')
                ? [{ expr: `node_hwmon_temp_celsius{${m}} < 150`, name: nameOf }]
                : [{ expr: `node_thermal_zone_temp{${m}}`, name: (l) => `${l.type ?? ''} ${l.zone ?? ''}` }]
            }
          />
        )}
        {has(a, 'node_hwmon_fan_rpm') && (
          <Chart title="Fans" unit="rpm" min={0} queries={[{ expr: `node_hwmon_fan_rpm{${m}}`, name: nameOf }]} />
        )}
        {has(a, 'node_rapl_*', 'node_hwmon_power_average_watt', 'node_hwmon_power_watt') && (
          <Chart
            title="Power"
            unit="watts"
            min={0}
            queries={[
              ...(has(a, 'node_rapl_*')
                ? [
                    {
                      expr: `label_replace(rate({__name__=~"node_rapl_.*_joules_total",${m}}[$rate]), "path", "$1", "path", ".*/(.*)")`,
                      name: (l: Labels) => `CPU ${l.path ?? l.index ?? ''}`,
                    },
                  ]
                : []),
              ...(has(a, 'node_hwmon_power_average_watt')
                ? [{ expr: `node_hwmon_power_average_watt{${m}}`, name: nameOf }]
                : []),
              ...(has(a, 'node_hwmon_power_watt') ? [{ expr: `node_hwmon_power_watt{${m}}`, name: nameOf }] : []),
            ]}
            empty={{ title: 'No power data', why: 'Reading it may need more privileges than the exporter has.' }}
          />
        )}
        {has(a, 'node_cpu_scaling_frequency_hertz', 'node_cpu_frequency_hertz') && (
          <Chart
            title="Clock frequency"
            unit="hertz"
            queries={(() => {
              const f = has(a, 'node_cpu_scaling_frequency_hertz')
                ? 'node_cpu_scaling_frequency_hertz'
                : 'node_cpu_frequency_hertz';
              return (['min', 'avg', 'max'] as const).map((g) => ({
                expr: `${g} by (machine) (${f}{${m}})`,
                name: () => ({ min: 'slowest core', avg: 'average', max: 'fastest core' })[g],
              }));
            })()}
          />
        )}
        {has(a, 'node_cpu_core_throttles_total') && (
          <Chart
            title="Thermal throttling"
            unit="perSecond"
            min={0}
            max={0.01}
            queries={[
              { expr: `sum by (machine) (rate(node_cpu_core_throttles_total{${m}}[$rate]))`, name: () => 'cores' },
            ]}
          />
        )}
        {has(a, 'node_edac_correctable_errors_total') && (
          <Chart
            title="Memory errors (ECC)"
            unit="count"
            min={0}
            max={1}
            queries={[
              {
                expr: `increase(node_edac_correctable_errors_total{${m}}[$rate])`,
                name: (l) => `corrected, controller ${l.controller ?? ''}`,
              },
              {
                expr: `increase(node_edac_uncorrectable_errors_total{${m}}[$rate])`,
                name: (l) => `uncorrected, controller ${l.controller ?? ''}`,
                colour: () => 'var(--crit)',
              },
            ]}
          />
        )}
        {has(a, 'node_hwmon_in_volts') && (
          <Chart title="Voltages" unit="volts" queries={[{ expr: `node_hwmon_in_volts{${m}}`, name: nameOf }]} />
        )}
        {has(a, 'node_power_supply_capacity') && (
          <Chart
            title="Batteries"
            unit="ratio"
            min={0}
            max={1}
            queries={[{ expr: `node_power_supply_capacity{${m}} / 100`, name: (l) => l.power_supply ?? '' }]}
          />
        )}
      </div>
      <Tables samples={got.data} nameOf={nameOf} />
    </>
  );
}

function Tables({
  samples,
  nameOf,
}: {
  samples: import('../../api/types/query').VectorSample[] | undefined;
  nameOf: (l: Labels) => string;
}) {
  const a = useAbout();
  const of = (name: string) => pick(samples, name);
  const dmi = of('node_dmi_info')[0]?.labels;
  const cpus = of('node_cpu_info');
  const models = [...new Set(cpus.map((c) => c.labels.model_name ?? ''))].filter(Boolean);
  const memory = of('node_memory_MemTotal_bytes')[0]?.value;
  const sensors = [
    ...of('node_hwmon_temp_celsius')
      .filter((s) => s.value < 150)
      .map((s) => ({ ...s, unit: 'celsius' as Unit, limit: limitOf(of, s.labels) })),
    ...of('node_hwmon_fan_rpm').map((s) => ({ ...s, unit: 'rpm' as Unit, limit: undefined })),
  ];
  const supplies = of('node_power_supply_online');
  const facts: [string, string | undefined][] = [
    ['System', [dmi?.system_vendor, dmi?.product_name, dmi?.product_version].filter(Boolean).join(' ')],
    ['Board', [dmi?.board_vendor, dmi?.board_name].filter(Boolean).join(' ')],
    ['Firmware', [dmi?.bios_vendor, dmi?.bios_version, dmi?.bios_date].filter(Boolean).join(' ')],
    ['Processor', models.join(', ')],
    ['Threads', cpus.length ? String(cpus.length) : ''],
    ['Memory', memory ? format(memory, 'bytes') : ''],
  ];
  const known = facts.filter(([, v]) => v);
  const stale = a.away ? ' stale' : '';
  return (
    <div class="mgrid">
      {sensors.length > 0 && (
        <div class={`two${stale}`}>
          <Panel title="Sensors" level={3}>
            <div class="tablebox scrollbox" tabIndex={0} role="region" aria-label="Sensors">
              <table class="table">
                <thead>
                  <tr>
                    <th>Sensor</th>
                    <th class="num">Now</th>
                    <th class="num">Limit</th>
                    <th>State</th>
                  </tr>
                </thead>
                <tbody>
                  {sensors.map((s) => (
                    <tr key={`${s.unit} ${s.labels.chip} ${s.labels.sensor}`}>
                      <td>{nameOf(s.labels)}</td>
                      <td class="num nowrap">{format(s.value, s.unit)}</td>
                      <td class="num nowrap">{format(s.limit, s.unit)}</td>
                      <td>
                        {s.limit === undefined ? (
                          '–'
                        ) : s.value >= s.limit ? (
                          <Status level="crit">too hot</Status>
                        ) : s.value >= s.limit - 10 ? (
                          <Status level="warn">near limit</Status>
                        ) : (
                          <Status level="ok">OK</Status>
                        )}
                      </td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          </Panel>
        </div>
      )}
      {known.length > 0 && (
        <div class={stale}>
          <Panel title="Machine" level={3}>
            <dl class="facts body">{known.map(([k, v]) => [<dt key={k}>{k}</dt>, <dd key={`${k} value`}>{v}</dd>])}</dl>
          </Panel>
        </div>
      )}
      {supplies.length > 0 && (
        <div class={stale}>
          <Panel title="Power supplies" level={3}>
            <div class="tablebox">
              <table class="table">
                <tbody>
                  {supplies.map((s) => (
                    <tr key={s.labels.power_supply}>
                      <td>{s.labels.power_supply}</td>
                      <td>
                        {s.value === 1 ? (
                          <Status level="ok">connected</Status>
                        ) : (
                          <Status level="off" icon="off">
                            not connected
                          </Status>
                        )}
                      </td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          </Panel>
        </div>
      )}
    </div>
  );
}

// The critical temperature of a sensor, where what it says can be true.
function limitOf(of: (name: string) => { labels: Labels; value: number }[], l: Labels): number | undefined {
  for (const name of ['node_hwmon_temp_crit_celsius', 'node_hwmon_temp_max_celsius']) {
    const v = of(name).find((x) => x.labels.chip === l.chip && x.labels.sensor === l.sensor)?.value;
    if (v !== undefined && v > 40 && v < 150) return v;
  }
  return undefined;
}
