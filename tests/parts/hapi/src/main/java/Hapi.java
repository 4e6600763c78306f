import ca.uhn.fhir.batch2.api.IJobMaintenanceService;
import ca.uhn.fhir.batch2.jobs.config.Batch2JobsConfig;
import ca.uhn.fhir.batch2.jobs.export.BulkDataExportProvider;
import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.jpa.api.config.JpaStorageSettings;
import ca.uhn.fhir.jpa.api.config.ThreadPoolFactoryConfig;
import ca.uhn.fhir.jpa.batch2.JpaBatch2Config;
import ca.uhn.fhir.jpa.config.HapiJpaConfig;
import ca.uhn.fhir.jpa.config.r4.JpaR4Config;
import ca.uhn.fhir.jpa.config.util.HapiEntityManagerFactoryUtil;
import ca.uhn.fhir.jpa.model.config.PartitionSettings;
import ca.uhn.fhir.jpa.model.config.SubscriptionSettings;
import ca.uhn.fhir.jpa.model.dialect.HapiFhirH2Dialect;
import ca.uhn.fhir.jpa.search.DatabaseBackedPagingProvider;
import ca.uhn.fhir.jpa.subscription.channel.config.SubscriptionChannelConfig;
import ca.uhn.fhir.rest.server.RestfulServer;
import ca.uhn.fhir.rest.server.provider.ResourceProviderFactory;
import jakarta.persistence.EntityManagerFactory;
import java.net.InetSocketAddress;
import java.util.Properties;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import javax.sql.DataSource;
import org.apache.commons.dbcp2.BasicDataSource;
import org.eclipse.jetty.ee10.servlet.ServletContextHandler;
import org.eclipse.jetty.ee10.servlet.ServletHolder;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;
import org.springframework.beans.factory.config.ConfigurableListableBeanFactory;
import org.springframework.context.ApplicationContext;
import org.springframework.context.annotation.AnnotationConfigApplicationContext;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.context.annotation.Import;
import org.springframework.orm.jpa.JpaTransactionManager;
import org.springframework.orm.jpa.LocalContainerEntityManagerFactoryBean;
import org.springframework.transaction.PlatformTransactionManager;
import org.springframework.transaction.annotation.EnableTransactionManagement;

/** HAPI FHIR's JPA server, R4, in memory, on loopback: {@code Hapi [PORT]}, any free port by default. */
public final class Hapi {
    /** A job goes on to its next step in a maintenance pass only, and HAPI itself makes one a minute. */
    private static final int PASS_EVERY_MILLIS = 500;
    /** By default 50, which makes a search for everything a matter of hundreds of requests. */
    private static final int LARGEST_PAGE = 1000;

    private Hapi() {}

    public static void main(String[] arguments) throws Exception {
        int port = arguments.length > 0 ? Integer.parseInt(arguments[0]) : 0;
        ApplicationContext context = new AnnotationConfigApplicationContext(Beans.class);
        runMaintenance(context.getBean(IJobMaintenanceService.class));
        System.out.println("hapi: listens on " + serve(context, port));
        System.out.println("hapi: ready");
    }

    private static String serve(ApplicationContext context, int port) throws Exception {
        RestfulServer fhir = new RestfulServer(context.getBean(FhirContext.class));
        DatabaseBackedPagingProvider paging = context.getBean(DatabaseBackedPagingProvider.class);
        paging.setMaximumPageSize(LARGEST_PAGE);
        fhir.setPagingProvider(paging);
        fhir.registerProviders(
                context.getBean("myResourceProvidersR4", ResourceProviderFactory.class).createProviders());
        fhir.registerProvider(context.getBean("mySystemProviderR4"));
        fhir.registerProvider(context.getBean(BulkDataExportProvider.class));

        Server server = new Server(InetSocketAddress.createUnresolved("127.0.0.1", port));
        ServletContextHandler handler = new ServletContextHandler("/");
        ServletHolder holder = new ServletHolder(fhir);
        // With the start, not with the first request.
        holder.setInitOrder(0);
        handler.addServlet(holder, "/fhir/*");
        server.setHandler(handler);
        server.start();
        int listening = ((ServerConnector) server.getConnectors()[0]).getLocalPort();
        return "http://127.0.0.1:" + listening + "/fhir";
    }

    private static void runMaintenance(IJobMaintenanceService maintenance) {
        Runnable pass = () -> {
            try {
                maintenance.runMaintenancePass();
            } catch (RuntimeException failed) {
                // A pass that fails, on a lock say, must not be the last one.
                System.err.println("hapi: maintenance pass: " + failed);
            }
        };
        Executors.newSingleThreadScheduledExecutor(task -> {
            Thread thread = new Thread(task, "maintenance");
            thread.setDaemon(true);
            return thread;
        }).scheduleWithFixedDelay(pass, PASS_EVERY_MILLIS, PASS_EVERY_MILLIS, TimeUnit.MILLISECONDS);
    }

    /** All that the server consists of. */
    @Configuration
    @EnableTransactionManagement
    @Import({
        JpaR4Config.class,
        HapiJpaConfig.class,
        JpaBatch2Config.class,
        Batch2JobsConfig.class,
        SubscriptionChannelConfig.class,
        ThreadPoolFactoryConfig.class,
    })
    public static class Beans {
        @Bean
        public JpaStorageSettings storageSettings() {
            JpaStorageSettings settings = new JpaStorageSettings();
            // Resources keep their ids, and come in any order.
            settings.setResourceClientIdStrategy(JpaStorageSettings.ClientIdStrategyEnum.ANY);
            settings.setEnforceReferentialIntegrityOnWrite(false);
            // A search is to show what is there now.
            settings.setReuseCachedSearchResultsForMillis(null);
            return settings;
        }

        @Bean
        public PartitionSettings partitionSettings() {
            return new PartitionSettings();
        }

        @Bean
        public SubscriptionSettings subscriptionSettings() {
            return new SubscriptionSettings();
        }

        @Bean(destroyMethod = "close")
        public BasicDataSource dataSource() {
            BasicDataSource source = new BasicDataSource();
            source.setUrl("jdbc:h2:mem:hapi;DB_CLOSE_DELAY=-1");
            source.setUsername("sa");
            source.setPassword("");
            source.setMaxTotal(32);
            return source;
        }

        @Bean
        public LocalContainerEntityManagerFactoryBean entityManagerFactory(
                DataSource source,
                ConfigurableListableBeanFactory beans,
                FhirContext context,
                JpaStorageSettings settings) {
            LocalContainerEntityManagerFactoryBean factory =
                    HapiEntityManagerFactoryUtil.newEntityManagerFactory(beans, context, settings);
            factory.setPersistenceUnitName("hapi");
            factory.setDataSource(source);
            Properties properties = new Properties();
            properties.put("hibernate.dialect", HapiFhirH2Dialect.class.getName());
            properties.put("hibernate.hbm2ddl.auto", "update");
            properties.put("hibernate.search.enabled", "false");
            factory.setJpaProperties(properties);
            return factory;
        }

        @Bean
        public PlatformTransactionManager transactionManager(EntityManagerFactory factory) {
            return new JpaTransactionManager(factory);
        }
    }
}
